"""Lets one step at a time reach the model, the most urgent first, and alike steps of several callers together."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

WINDOW_S = 0.008
"""How long a step waits for others that are on their way; nobody waits who is alone."""

Item = TypeVar("Item")
Out = TypeVar("Out")


class Request:
    """One request on its way through the model: its urgency, its place in line, whether to stop.

    Args:
        turnstile: where it will pass.
        rank: who goes first; 0 is a live caller.
        stop: set when nobody waits for it any more.
    """

    def __init__(self, turnstile: Turnstile, rank: int, stop: threading.Event) -> None:
        self.rank = rank
        self.stop = stop
        self.number = turnstile.number()
        self.is_coming = False
        self._turnstile = turnstile

    def expect(self) -> None:
        """Its next step is near: others of its rank wait a moment for it."""
        self._turnstile.mark(self, coming=True)

    def over(self) -> None:
        """It has no further step."""
        self._turnstile.mark(self, coming=False)


@dataclass(frozen=True)
class Step(Generic[Item, Out]):
    """Work on the model that several requests may share.

    Args:
        kind: steps of the same kind and rank go together.
        item: this request's part.
        most: how many go together at most.
        work: the parts in, one result for each out.
    """

    kind: Hashable
    item: Item
    most: int
    work: Callable[[Sequence[Item]], Sequence[Out]]


@dataclass(eq=False)
class _Ticket:
    request: Request
    serial: int
    step: Step[Any, Any]
    taken: bool = False
    done: bool = False
    result: Any = None
    error: Exception | None = None

    @property
    def place(self) -> tuple[int, int, int]:
        return self.request.rank, self.request.number, self.serial

    def goes_with(self, other: _Ticket) -> bool:
        return self.step.kind == other.step.kind and self.request.rank == other.request.rank


class Turnstile:
    """A lock whose waiters are served by rank, then in the order in which their requests came.

    A step of Whisper cannot be stopped, so live work must never queue behind more than the one under way.
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._waiting: list[_Ticket] = []
        self._coming: Counter[int] = Counter()
        self._numbers = itertools.count()
        self._busy = False

    def number(self) -> int:
        """The next place in line."""
        return next(self._numbers)

    def mark(self, request: Request, *, coming: bool) -> None:
        """Note whether a request's next step is near."""
        with self._change:
            self._mark(request, coming=coming)

    @contextmanager
    def turn(self, request: Request) -> Iterator[None]:
        """Hold the model, alone."""
        with self._change:
            ticket = self._queued(request, Step(object(), None, 1, list))
            self._change.wait_for(lambda: self._is_next(ticket))
            self._waiting.remove(ticket)
            self._busy = True
        try:
            yield
        finally:
            self._free()

    def together(self, request: Request, step: Step[Item, Out]) -> Out | None:
        """Have one's part of a step done, by whichever of those who share it comes first.

        Returns:
            None if the request was stopped before its turn.

        Raises:
            Exception: whatever the work raised on this part alone.
        """
        group: list[_Ticket] = []
        with self._change:
            ticket = self._queued(request, step)
            if self._comes_to_lead(ticket):
                group = self._group_of(ticket)
                self._busy = True
        if group:
            try:
                _do([member for member in group if not member.request.stop.is_set()])
            finally:
                self._free(group)
        if ticket.error is not None:
            raise ticket.error
        result: Out | None = ticket.result
        return result

    def _queued(self, request: Request, step: Step[Any, Any]) -> _Ticket:
        ticket = _Ticket(request, next(self._numbers), step)
        self._waiting.append(ticket)
        self._mark(request, coming=False)
        return ticket

    def _mark(self, request: Request, *, coming: bool) -> None:
        if request.is_coming != coming:
            request.is_coming = coming
            self._coming[request.rank] += 1 if coming else -1
        self._change.notify_all()

    def _is_next(self, ticket: _Ticket) -> bool:
        return not self._busy and min(self._waiting, key=lambda other: other.place) is ticket

    def _comes_to_lead(self, ticket: _Ticket) -> bool:
        """Wait for the turn and then for those who are coming; False once another has done it."""
        latest: float | None = None
        while not ticket.done:
            left_s: float | None = None
            if not ticket.taken and self._is_next(ticket):
                latest = latest or time.monotonic() + WINDOW_S
                left_s = latest - time.monotonic()
                if left_s <= 0 or self._is_full(ticket) or not self._coming[ticket.request.rank]:
                    return True
            self._change.wait(left_s)
        return False

    def _is_full(self, ticket: _Ticket) -> bool:
        return sum(ticket.goes_with(other) for other in self._waiting) >= ticket.step.most

    def _group_of(self, leader: _Ticket) -> list[_Ticket]:
        alike = sorted(
            (other for other in self._waiting if leader.goes_with(other)), key=lambda t: t.place
        )
        group = alike[: leader.step.most]
        for member in group:
            member.taken = True
            self._waiting.remove(member)
        return group

    def _free(self, group: Sequence[_Ticket] = ()) -> None:
        with self._change:
            self._busy = False
            for member in group:
                member.done = True
                # What they heard together they write down together.
                if len(group) > 1 and member.result is not None:
                    self._mark(member.request, coming=True)
            self._change.notify_all()


def _do(group: Sequence[_Ticket]) -> None:
    """Do a group's work; if that fails, each part alone, so that one cannot spoil the others'."""
    if not group:
        return
    try:
        results = group[0].step.work([member.step.item for member in group])
        for member, result in zip(group, results, strict=True):
            member.result = result
    except Exception as error:  # noqa: BLE001  handed to whoever asked for it
        if len(group) == 1:
            group[0].error = error
            return
        for member in group:
            _do([member])
