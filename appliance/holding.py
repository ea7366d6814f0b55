"""What whoever holds a box brings along: ears for signals, a voice, and wishes."""

from __future__ import annotations

import queue
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

from appliance.status import BoxStatus


class Report(Protocol):
    """Who tells the person how the start goes."""

    def warn(self, sentence: str) -> None: ...
    def progress(self, box: BoxStatus) -> None: ...
    def ready(self, box: BoxStatus) -> None: ...
    def stopping(self) -> None: ...
    def stopped(self) -> None: ...


@dataclass(frozen=True)
class Wish:
    """How a box is to be held that nobody sits beside.

    Attributes:
        is_patient: a model or the agent that fails leaves the page up, so that it can be mended there.
        without_models: why no model is to be started; empty: they are.
        lost: asked four times a second while the box is held: why it has to end; empty: it goes on.
    """

    is_patient: bool = False
    without_models: str = ""
    lost: Callable[[], str] = lambda: ""


class Signals:
    """Ctrl-C, SIGTERM and a closing terminal, as something to ask for instead of an exception."""

    def __init__(self) -> None:
        # Of all that can be waited for, a handler may touch this alone while the wait goes on.
        self._heard = queue.SimpleQueue[None]()
        self.count = 0

    @property
    def asked(self) -> bool:
        """Whether a stop was asked for."""
        return self.count > 0

    @property
    def forced(self) -> bool:
        """Whether it was asked for again."""
        return self.count > 1

    def wait(self, seconds: float) -> None:
        """Sleep, no longer than until the next signal."""
        with suppress(queue.Empty):
            self._heard.get(timeout=seconds)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        # A terminal that closes sends SIGHUP, and some send it twice.
        self.count += 1 if number != signal.SIGHUP or not self.count else 0
        self._heard.put(None)

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Take the three signals for the length of the block."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._take) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
