"""A call, its turns and the ways it can end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

ACTIVE = "active"


class EndState(StrEnum):
    """How a call ended. There is no other way."""

    COMPLETED = "completed"
    CALLER_LEFT = "caller_left"
    TIMED_OUT = "timed_out"
    FAILED = "failed"


STAGES = ("transcript", "end_of_turn", "first_token", "first_clause", "first_sound", "at_ear")
"""The stages of a turn, in their order, as they are called everywhere."""


@dataclass(frozen=True)
class Visit:
    """How a caller came to the call, and within what bounds."""

    origin: str
    """page, link, token or command."""
    caller_name: str = ""
    link_id: str | None = None
    max_s: int | None = None
    """Longest duration in seconds, where it is shorter than the box's own limit."""
    text_only: bool = False
    key_id: str | None = None
    """The key of the program that made the call."""

    @property
    def holder(self) -> str:
        """Whose places in the queue are counted together; empty: the owner's and the command's."""
        if self.link_id is not None:
            return f"link {self.link_id}"
        return "" if self.key_id is None else f"key {self.key_id}"


PAGE_VISIT = Visit("page")


@dataclass(frozen=True)
class Session:
    """One call. ``state`` is ``active`` or an ``EndState``; times are in UTC."""

    id: str
    room_name: str
    persona: str
    keep_transcript: bool
    state: str
    reason: str
    created_at: datetime
    joined_at: datetime | None
    ended_at: datetime | None
    origin: str = "page"
    """page, link, token or command."""
    caller_name: str = ""
    link_id: str | None = None
    max_s: int | None = None
    """Longest duration in seconds, where it is shorter than the box's own limit."""
    text_only: bool = False
    caller_thumb: int | None = None
    """1 up, -1 down."""
    caller_note: str = ""
    owner_thumb: int | None = None
    owner_note: str = ""
    key_id: str | None = None
    """The key of the program that made the call."""

    @property
    def is_open(self) -> bool:
        """Whether the call still takes a seat."""
        return self.state == ACTIVE

    def as_json(self) -> dict[str, Any]:
        """The call as the API and the command show it; times in ISO 8601."""
        return {
            "session_id": self.id,
            "room_name": self.room_name,
            "persona": self.persona,
            "state": self.state,
            "reason": self.reason,
            "keep_transcript": self.keep_transcript,
            "created_at": self.created_at.isoformat(),
            "joined_at": _iso(self.joined_at),
            "ended_at": _iso(self.ended_at),
            "origin": self.origin,
            "caller_name": self.caller_name,
            "link_id": self.link_id,
            "text_only": self.text_only,
            "feedback": {
                "caller": {"thumb": self.caller_thumb, "note": self.caller_note},
                "owner": {"thumb": self.owner_thumb, "note": self.owner_note},
            },
        }


@dataclass(frozen=True)
class Turn:
    """One exchange: what the caller said (None: the greeting, or not kept) and the answer.

    ``ms`` holds the stage times after the caller's last voiced sample; ``finished_at`` is None
    while the answer is under way, and stays so if the agent died before it was spoken.
    """

    index: int
    user_text: str | None
    agent_text: str | None
    interrupted: bool
    started_at: datetime
    finished_at: datetime | None
    ms: dict[str, int | None] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The turn as the API and the command show it; times in ISO 8601."""
        return {
            "index": self.index,
            "user_text": self.user_text,
            "agent_text": self.agent_text,
            "interrupted": self.interrupted,
            "ms": self.ms,
            "started_at": self.started_at.isoformat(),
            "finished_at": _iso(self.finished_at),
        }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
