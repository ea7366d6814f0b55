"""What the figures were seen on: kept beside every result."""

from appliance.measuring.watching import machine

__all__ = ["machine"]
