"""Models: what is here and what fits, fetching, uploading, and changing the one that serves."""
