"""Certificates of the https door: the box's own authority, or the owner's certificate."""
