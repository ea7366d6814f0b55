"""Backups as the panel has them: made by night and on demand, listed, replaced, taken away."""
