"""The supervised programs, a folder each. None imports another."""
