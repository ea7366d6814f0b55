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
