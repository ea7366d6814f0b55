"""JSON for the page and for programs."""
