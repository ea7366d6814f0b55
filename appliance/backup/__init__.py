"""Backups: what the box keeps, sealed for the owner's key, and the way back."""
