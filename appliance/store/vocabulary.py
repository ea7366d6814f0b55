"""A call, its turns and the ways it can end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

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
