"""Lets one thread at a time reach the model, the most urgent first."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turnstile:
    """A lock whose waiters are served by rank, then in order of arrival.

    A step of Whisper cannot be stopped, so live work must never queue behind more than the one under way.
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._waiting: list[tuple[int, int]] = []
        self._numbers = itertools.count()
        self._busy = False

    @contextmanager
    def turn(self, rank: int) -> Iterator[None]:
        """Hold the model; the lowest rank goes first."""
        with self._change:
            ticket = (rank, next(self._numbers))
            heapq.heappush(self._waiting, ticket)
            self._change.wait_for(lambda: not self._busy and self._waiting[0] == ticket)
            heapq.heappop(self._waiting)
            self._busy = True
        try:
            yield
        finally:
            with self._change:
                self._busy = False
                self._change.notify_all()
