"""Who may take the next seat: those who wait come before those who have just come."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from appliance import logs
from appliance.errors import NotFound, NotReady
from services.panel.calls import Clock

POLL_S = 2
"""How often a waiting page asks for its place."""
UNPOLLED_S = 15.0
"""A place that nobody asks for any more is given up."""
HOLD_S = 30.0
"""How long a seat is held for the one whose turn it is."""
MOST_WAITING = 100
MOST_OF_ONE = 20
"""Places of one link or one key."""
# A full box is asked by many at once; a seat that came free is seen this much later at most.
_KEPT_S = 0.25

log = logs.get(__name__)


class BoxFull(NotReady):
    """Every seat is taken or spoken for."""

    def __init__(self, seats: int, before_you: int) -> None:
        waiting = {0: "", 1: " One caller waits before you."}.get(
            before_you, f" {before_you} callers wait before you."
        )
        lines = "The line is busy." if seats == 1 else f"All {seats} lines are busy."
        super().__init__(
            "box_full", lines + waiting, "Try again when a call has ended.", can_retry=True
        )
        self.before_you = before_you
        self.place: Place | None = None


@dataclass(frozen=True)
class Place:
    """Where somebody stands in the queue."""

    ticket: str
    before_you: int
    your_turn: bool


@dataclass(eq=False)
class _Ticket:
    id: str
    holder: str
    seen_at: float
    called_at: float | None = None


class Queue:
    """Counts the seats and keeps the line of those who wait.

    Args:
        seats: how many calls may run at once.
        count_open: how many run, by the store; called in a thread.
        clock: seconds that only go forward.
    """

    def __init__(self, seats: int, count_open: Callable[[], int], clock: Clock) -> None:
        self.seats = seats
        self._count_open = count_open
        self._clock = clock
        self._lock = asyncio.Lock()
        # Of its own: the common threads may all be waiting for the disk, and nobody is to wait for them.
        self._counter = ThreadPoolExecutor(1, "seats")
        self._tickets: dict[str, _Ticket] = {}
        self._open = 0
        self._being_taken = 0
        self._counted_at = -math.inf
        self._counting: asyncio.Future[int] | None = None

    @asynccontextmanager
    async def seat(self, ticket_id: str | None, holder: str = "") -> AsyncIterator[None]:
        """One seat is kept for the one who asked while they take it in the store.

        Raises:
            BoxFull: there is none for them yet.
            NotFound: there is no such ticket.
        """
        ticket = None if ticket_id is None else await self._called(ticket_id, holder)
        if ticket is None:
            await self.refuse_if_full(ticket_id)
        # From the look to here nothing was awaited, so nobody came in between.
        self._being_taken += 1
        try:
            yield
        except BaseException as error:
            if ticket is not None:
                self._tickets[ticket.id] = ticket
            if isinstance(error, NotReady) and error.code == "box_full":
                # Only if the count was wrong; the store has the last word.
                self._counted_at = -math.inf
                raise BoxFull(self.seats, len(self._waiting())) from error
            raise
        else:
            self._open += 1
        finally:
            self._being_taken -= 1

    async def refuse_if_full(self, ticket_id: str | None) -> None:
        """Tell a newcomer that there is no seat, with a look into the store four times a second.

        Raises:
            BoxFull: every seat is taken or spoken for.
        """
        if ticket_id is not None:
            return
        self._drop_the_gone()
        if self._clock() - self._counted_at >= _KEPT_S and (
            self._is_full() or self._counted_at == -math.inf
        ):
            # An agent may have ended a call in the store, and a free seat is refused to nobody.
            await asyncio.shield(self._counting or self._count_soon())
        if self._is_full():
            raise BoxFull(self.seats, len(self._waiting()))

    def _is_full(self) -> bool:
        return self._open + self._being_taken + len(self._tickets) >= self.seats

    def wait(self, holder: str = "", most: int = MOST_OF_ONE) -> Place | None:
        """A place at the end of the line; None if the line is too long.

        Args:
            holder: the link or the key of the one who waits; empty: the owner.
            most: how many places this holder may have.
        """
        self._drop_the_gone()
        theirs = sum(1 for one in self._tickets.values() if one.holder == holder)
        if len(self._tickets) >= MOST_WAITING or (holder and theirs >= min(most, MOST_OF_ONE)):
            return None
        ticket = _Ticket(secrets.token_urlsafe(16), holder, self._clock())
        self._tickets[ticket.id] = ticket
        return self._place(ticket)

    async def look(self, ticket_id: str, holder: str = "") -> Place:
        """Where this ticket stands now; keeps it alive.

        Raises:
            NotFound: there is no such ticket, or it was given up.
        """
        async with self._lock:
            self._drop_the_gone()
            ticket = self._find(ticket_id, holder)
            ticket.seen_at = self._clock()
            await self._settle()
            return self._place(self._find(ticket_id, holder))

    def leave(self, ticket_id: str, holder: str = "") -> None:
        """Give a place up; no error if it is gone already."""
        found = self._tickets.get(ticket_id)
        if found is not None and found.holder == holder:
            del self._tickets[ticket_id]

    def ended(self) -> None:
        """A call was ended, and its seat is free."""
        self._open = max(0, self._open - 1)

    async def line(self) -> dict[str, int]:
        """Seats, calls, seats held for those whose turn it is, and those who wait."""
        async with self._lock:
            await self._settle()
            waiting = len(self._waiting())
        held = len(self._tickets) - waiting
        return {"seats": self.seats, "open": self._open, "held": held, "waiting": waiting}

    async def _called(self, ticket_id: str, holder: str) -> _Ticket:
        """Take this ticket out of the line if its turn has come."""
        async with self._lock:
            await self._settle()
            ticket = self._find(ticket_id, holder)
            if ticket.called_at is None:
                raise BoxFull(self.seats, self._before(ticket))
            return self._tickets.pop(ticket_id)

    async def _settle(self) -> None:
        """Drop who is gone, count the calls, and call as many of the line as there are seats."""
        self._drop_the_gone()
        if self._clock() - self._counted_at >= _KEPT_S:
            # Agents end calls in the store; in between, what is begun and ended here is enough.
            # Shared: that one asker hangs up must not take the count from the others.
            await asyncio.shield(self._counting or self._count_soon())
        held = sum(1 for ticket in self._tickets.values() if ticket.called_at is not None)
        free = self.seats - self._open - self._being_taken - held
        for ticket in self._waiting()[: max(0, free)]:
            ticket.called_at = self._clock()

    def _count_soon(self) -> asyncio.Future[int]:
        loop = asyncio.get_running_loop()
        self._counting = loop.run_in_executor(self._counter, self._count_open)
        self._counting.add_done_callback(self._counted)
        return self._counting

    def _counted(self, counting: asyncio.Future[int]) -> None:
        self._counting = None
        error = None if counting.cancelled() else counting.exception()
        if error is not None:
            log.warning("calls_not_counted", error=type(error).__name__)
        elif not counting.cancelled():
            # A seat that is being taken may be in the store already, and is added when it is taken.
            # Too low a count lets somebody ask the store; too high a one would refuse a free seat.
            self._open = max(0, counting.result() - self._being_taken)
            self._counted_at = self._clock()

    def _drop_the_gone(self) -> None:
        now = self._clock()
        for ticket in list(self._tickets.values()):
            late = ticket.called_at is not None and now - ticket.called_at > HOLD_S
            if late or now - ticket.seen_at > UNPOLLED_S:
                del self._tickets[ticket.id]
                if ticket.called_at is not None and ticket.holder:
                    self._to_the_end(ticket.holder)

    def _to_the_end(self, holder: str) -> None:
        """A seat was held for nothing: whoever else waits comes before this holder's next."""
        for ticket in self._waiting():
            if ticket.holder == holder:
                self._tickets[ticket.id] = self._tickets.pop(ticket.id)

    def _waiting(self) -> list[_Ticket]:
        return [ticket for ticket in self._tickets.values() if ticket.called_at is None]

    def _before(self, ticket: _Ticket) -> int:
        return self._waiting().index(ticket)

    def _place(self, ticket: _Ticket) -> Place:
        called = ticket.called_at is not None
        return Place(ticket.id, 0 if called else self._before(ticket), called)

    def _find(self, ticket_id: str, holder: str) -> _Ticket:
        found = self._tickets.get(ticket_id)
        if found is None or found.holder != holder:
            raise NotFound(
                "ticket_unknown", "This place in the line is gone.", "Ask for a call again."
            )
        return found
