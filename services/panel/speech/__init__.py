"""The speech services for other programs, behind the panel's door and below every call."""
