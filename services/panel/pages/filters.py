"""How figures and sentences are written on pages."""

from __future__ import annotations

from markupsafe import Markup, escape

from appliance.catalogue.fit import text as size

__all__ = ["FILTERS", "clock", "size", "span", "ticks"]


def span(seconds: float) -> str:
    """A duration as people say it: 42 s, 3 min, 5 h, 2 d."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds) // length} {unit}"
    return f"{max(0, int(seconds))} s"


def clock(seconds: float) -> str:
    """A duration as a clock shows it: 4:07 or 1:02:33."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def ticks(text: str) -> Markup:
    """A sentence whose `commands` are set as code; everything in it is escaped."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    pieces = [
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part)
        for number, part in enumerate(parts)
    ]
    return Markup("").join(pieces)


FILTERS = {"size": size, "span": span, "clock": clock, "ticks": ticks}
