"""Who uses a core next: of those who ask, the one whose listener would fall silent first."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from services.tts.pacing import Lead


@dataclass(frozen=True, eq=False)
class Order:
    """One request as it competes for the cores."""

    urgency: int = 0
    """Smaller goes first, whatever the others' listeners hear."""
    heard: bool = True
    """Whether the sound is heard as it is made; a file is of no use before its end."""
    lead: Lead = field(default_factory=Lead)
    stop: threading.Event = field(default_factory=threading.Event)


class Cores:
    """As many places as pieces of sound may be made at once."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: list[tuple[int, float, int]] = []
        self._tickets = itertools.count()
        self._changed = threading.Condition()

    @contextmanager
    def place(self, order: Order) -> Iterator[None]:
        """Hold a place for one piece; wait for it while others are more urgent."""
        ticket = (order.urgency, order.lead.runs_dry_at, next(self._tickets))
        with self._changed:
            heapq.heappush(self._waiting, ticket)
            self._changed.wait_for(lambda: self._free > 0 and self._waiting[0] is ticket)
            heapq.heappop(self._waiting)
            self._free -= 1
            # With two places free, the next one need not wait for this piece's end.
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()
