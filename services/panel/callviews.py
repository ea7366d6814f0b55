"""Calls as the pages show them: plain words, durations, bars."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from appliance.settings import Settings
from appliance.store import Session, Turn
from services.panel.calls import Call

STAGES = {
    "transcript": "the caller's words were text",
    "end_of_turn": "sure that the caller had finished",
    "first_token": "first word of the answer thought of",
    "first_clause": "first phrase of the answer thought of",
    "first_sound": "first sound of the answer left the box",
    "at_ear": "first sound reached the caller's ear",
}
ORIGINS = {
    "page": "the talk page",
    "link": "a join link",
    "token": "a program",
    "command": "the command on the box",
}
# What the state is called, and the colour of its badge.
_STATES = {
    "active": ("in the call", "good"),
    "completed": ("ended", ""),
    "caller_left": ("caller left", ""),
    "timed_out": ("ran out of time", "warn"),
    "failed": ("broke off", "bad"),
}
# Shorter turns than this would all look slow.
_LEAST_SCALE_MS = 1000
_LEAST_WIDTH = 0.6


@dataclass(frozen=True)
class Bar:
    """One stage of a turn. ``x`` and ``width`` are percents of the whole bar."""

    name: str
    label: str
    ms: int | None
    """After the caller's last voiced sample; None: it was not measured."""
    x: float
    width: float


@dataclass(frozen=True)
class Live:
    """An open call."""

    session: Session
    link_name: str
    turns: Sequence[Turn]
    doing: str
    lasted: str


def who(session: Session, link_name: str = "") -> str:
    """Whoever calls, as far as the box knows."""
    if session.caller_name.strip():
        return session.caller_name
    if link_name:
        return f"A guest of {link_name}"
    return {
        "page": "Somebody at the talk page",
        "link": "A guest",
        "token": "A program",
        "command": "The command on the box",
    }.get(session.origin, "Somebody")


def state_words(session: Session) -> str:
    """The state in plain words."""
    return _STATES.get(session.state, (session.state, ""))[0]


def state_badge(session: Session) -> str:
    """The colour of the state's badge."""
    return _STATES.get(session.state, ("", ""))[1]


def lasted(session: Session, now: datetime | None = None) -> str:
    """From the first to the last moment, e.g. ``3:07``."""
    end = session.ended_at or now or datetime.now(UTC)
    return clock((end - session.created_at).total_seconds())


def since_start(session: Session, moment: datetime) -> str:
    """How far into the call this was."""
    return clock((moment - session.created_at).total_seconds())


def clock(seconds: float) -> str:
    """Seconds as ``3:07`` or ``1:02:33``."""
    whole = max(0, int(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def kept_until(session: Session, settings: Settings) -> datetime | None:
    """When an ended call is deleted by itself; None: never, or it has not ended."""
    days = settings.access.keep_calls_days
    if not days or session.ended_at is None:
        return None
    return datetime.fromtimestamp(session.ended_at.timestamp() + days * 86400, UTC)


def doing(call: Call | None, session: Session, turns: Sequence[Turn]) -> str:
    """What happens in an open call now."""
    if session.joined_at is None:
        return "waiting for the caller"
    if call is not None and call.caller_missing_since is not None:
        return "caller's connection lost"
    if call is not None and not call.living_agents:
        return "waiting for the assistant"
    if turns and turns[-1].finished_at is None:
        return "answering"
    return "listening"


def doing_badge(words: str) -> str:
    """The colour of a badge with words of ``doing``."""
    return "good" if words in ("listening", "answering") else "warn"


def has_times(turn: Turn) -> bool:
    """Whether anything of this turn was measured; nothing is where the caller wrote."""
    return any(ms is not None for ms in turn.ms.values())


def scale_ms(turns: Sequence[Turn]) -> int:
    """The length of the longest bar of these turns, so that they can be compared."""
    found = [ms for turn in turns for ms in turn.ms.values() if ms is not None]
    return max([_LEAST_SCALE_MS, *found])


def bars(turn: Turn, scale: int) -> list[Bar]:
    """Every stage of the turn, each from the end of the stages before it.

    Args:
        turn: whose times.
        scale: ms at the right end.
    """
    found, before = [], 0
    for name, label in STAGES.items():
        ms = turn.ms.get(name)
        if ms is None:
            found.append(Bar(name, label, None, 0, 0))
            continue
        end = max(0, ms)
        # A stage may be over before another that is named earlier: they run beside each other.
        begin = min(before, end)
        x = round(min(100 - _LEAST_WIDTH, 100 * begin / scale), 2)
        # Seen even where it took no time.
        width = max(_LEAST_WIDTH, round(100 * (end - begin) / scale, 2))
        found.append(Bar(name, label, ms, x, min(width, 100 - x)))
        before = max(before, end)
    return found


def marked(text: str, wanted: str) -> list[tuple[str, bool]]:
    """The text in pieces; True: this piece is what was searched for."""
    if not wanted:
        return [(text, False)]
    pieces = re.split(f"({re.escape(wanted)})", text, flags=re.IGNORECASE)
    return [(piece, bool(place % 2)) for place, piece in enumerate(pieces) if piece]
