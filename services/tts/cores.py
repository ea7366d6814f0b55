"""Who uses a core next: of those who ask, the one whose listener would fall silent first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from appliance.serving import Rank
from services.tts.pacing import Lead


@dataclass(frozen=True, eq=False)
class Order:
    """One request as it competes for the cores."""

    rank: Rank = field(default_factory=Rank)
    """The more urgent goes first, whatever the others' listeners hear."""
    heard: bool = True
    """Whether the sound is heard as it is made; a file is of no use before its end."""
    lead: Lead = field(default_factory=Lead)
    stop: threading.Event = field(default_factory=threading.Event)


class _Ticket:
    def __init__(self, order: Order) -> None:
        self._rank = order.rank
        self._dry_at = order.lead.runs_dry_at
        self.granted = threading.Event()

    def turn(self) -> tuple[int, float]:
        """When it is served; the rank may have risen since it came. Of equals the first is served."""
        return self._rank.priority, self._dry_at


class Cores:
    """As many places as pieces of sound may be made at once."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: list[_Ticket] = []
        self._lock = threading.Lock()

    @contextmanager
    def place(self, order: Order) -> Iterator[None]:
        """Hold a place for one piece; wait for it while others are more urgent."""
        ticket = _Ticket(order)
        with self._lock:
            self._waiting.append(ticket)
            self._grant()
        ticket.granted.wait()
        try:
            yield
        finally:
            with self._lock:
                self._free += 1
                self._grant()

    def _grant(self) -> None:
        # Whoever gives a place back decides, once: ranks rise at any moment, and of waiters who each
        # looked for themselves, each could find that it is the other's turn.
        while self._free and self._waiting:
            ticket = min(self._waiting, key=_Ticket.turn)
            self._waiting.remove(ticket)
            self._free -= 1
            ticket.granted.set()
