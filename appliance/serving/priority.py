"""How soon a request is served."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Priority(IntEnum):
    """A smaller number goes first."""

    LIVE = 0
    PREEMPTIVE = 1
    """An answer to a turn that may not be over, raised to ``LIVE`` when it is. No other room's work
    ends it; what its own room asks for next does, if it is as urgent."""
    SPECULATIVE = 2
    INTERIM = 3
    BACKGROUND = 4
    """Other programs' work: never superseded, but put aside while anything else is to be done."""

    @property
    def may_be_superseded(self) -> bool:
        """Whether another room's more urgent work ends it."""
        return self in (Priority.SPECULATIVE, Priority.INTERIM)


@dataclass
class Rank:
    """One request's priority, which rises while the request is under way."""

    priority: Priority = Priority.LIVE
    attempt: str = ""
    """Names the answer that it is a part of; empty: it cannot be raised."""

    def raised(self) -> None:
        """Somebody waits for it now."""
        if self.priority is Priority.PREEMPTIVE:
            self.priority = Priority.LIVE
