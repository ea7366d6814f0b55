"""A picture of a measurement: for each stage a bar to the middle turn and a line to nine of ten."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

TITLES = {
    "transcript": "words known",
    "end_of_turn": "end of turn",
    "first_token": "first token",
    "first_clause": "first clause",
    "first_sound": "first sound",
    "at_ear": "heard",
}
SILENT = {"silence": "silent"}
HEADINGS = {
    "after the last word": TITLES,
    "after the first sound spoken into an answer": SILENT,
}
"""From which moment the rows beneath it count."""
_COLOURS = {"ours": "#2a6f97", "stock": "#b5651d"}
_OTHER = "#6b6b6b"
_WIDTH, _LEFT, _RIGHT = 720, 150, 70
_BAR, _GAP, _TOP, _HEADING = 16, 14, 56, 28
_STEPS_MS = (50, 100, 200, 500, 1000, 2000, 5000, 10000)
_LINES = 8

_Row = tuple[str, list[tuple[str, Mapping[str, float] | None]]]


def chart(result: Mapping[str, Any]) -> str:
    """The picture as SVG; readable on light and on dark ground."""
    sides = [name for name in ("ours", "stock") if name in result]
    rows, silent = (_rows(result, sides, titles) for titles in HEADINGS.values())
    most = max((s["p90"] for _title, found in rows + silent for _n, s in found if s), default=1.0)
    step = next((s for s in _STEPS_MS if most / s <= _LINES), _STEPS_MS[-1])
    end = (int(most / step) + 1) * step
    row_height = len(sides) * _BAR + _GAP
    bottom = _TOP + len(rows) * row_height
    height = bottom + (_HEADING + len(silent) * row_height if silent else 0) + 24

    def x(ms: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * ms / end, 1)

    def drawn(rows: list[_Row], top: float) -> list[str]:
        parts = []
        for title, found in rows:
            parts.append(_text(_LEFT - 10, top + len(sides) * _BAR / 2 + 4, title, "end"))
            for place, (name, summary) in enumerate(found):
                if summary:
                    parts += _bar(name, summary, top + place * _BAR, x)
            top += row_height
        return parts

    parts = [_head(height, _title(result)), *_legend(sides)]
    for ms in range(0, end + 1, step):
        parts.append(_line(x(ms), _TOP - 6, height - 22))
        parts.append(_text(x(ms), height - 8, f"{ms} ms" if ms == end else str(ms), "middle"))
    parts += drawn(rows, _TOP)
    if silent:
        parts.append(_text(10, bottom + 14, f"{list(HEADINGS)[1].capitalize()}:", "start"))
        parts += drawn(silent, bottom + _HEADING)
    return "\n".join([*parts, "</svg>", ""])


def _rows(result: Mapping[str, Any], sides: list[str], titles: Mapping[str, str]) -> list[_Row]:
    """Those that anybody measured."""
    rows = [
        (title, [(name, result[name].get(f"{stage}_ms")) for name in sides])
        for stage, title in titles.items()
    ]
    return [(title, found) for title, found in rows if any(summary for _name, summary in found)]


def _title(result: Mapping[str, Any]) -> str:
    plan = result["plan"]
    rooms = "1 room" if plan["rooms"] == 1 else f"{plan['rooms']} rooms"
    how = ", all at once" if plan["overlap"] else ", in turn" if plan["rooms"] > 1 else ""
    answers = f"{result['ours']['questions']['answered']} answers"
    return f"After the caller's last word: {rooms}{how}, {answers}{_doubts(result)}"


def _doubts(result: Mapping[str, Any]) -> str:
    """What a picture that is seen without its figures has to say of itself."""
    broken = "; broken off" if result.get("broken_off") else ""
    return broken + ("; other callers on the line" if result.get("callers_beside") else "")


def _head(height: int, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'width="{_WIDTH}" height="{height}" font-family="system-ui, sans-serif" font-size="12">\n'
        f"<title>{escape(title)}</title>\n"
        # A ground of its own: the file is also opened by itself, in a dark browser.
        f'<rect width="100%" height="100%" fill="#fff"/>\n'
        f"{_text(10, 20, title, 'start', size=14)}"
    )


def _legend(sides: list[str]) -> list[str]:
    parts = []
    for place, name in enumerate(sides):
        left = 10 + place * 110
        parts.append(
            f'<rect x="{left}" y="30" width="12" height="12" fill="{_COLOURS.get(name, _OTHER)}"/>'
        )
        parts.append(_text(left + 18, 40, name, "start"))
    return [*parts, _text(240, 40, "bar: half of the turns; line: nine of ten", "start")]


def _bar(name: str, summary: Mapping[str, float], top: float, x: Any) -> list[str]:
    colour = _COLOURS.get(name, _OTHER)
    middle, long = x(max(summary["p50"], 0)), x(max(summary["p90"], 0))
    y = top + _BAR / 2
    return [
        f'<rect x="{_LEFT}" y="{top + 2}" width="{middle - _LEFT:.1f}" height="12" fill="{colour}"/>',
        f'<path d="M{middle} {y}H{long}M{long} {y - 4}v8" stroke="{colour}" stroke-width="2"/>',
        _text(long + 6, y + 4, f"{summary['p50']:.0f} / {summary['p90']:.0f}", "start", size=11),
    ]


def _line(x: float, top: float, bottom: float) -> str:
    return f'<path d="M{x} {top}V{bottom}" stroke="#ddd"/>'


def _text(x: float, y: float, text: str, anchor: str, *, size: int = 12) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="#222">'
        f"{escape(text)}</text>"
    )
