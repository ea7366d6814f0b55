"""What Earshot's programs share. Knows no model library, no web page and no LiveKit agent."""

__version__ = "0.1.0"
