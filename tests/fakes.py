"""Stand-ins that keep the whole interface of what they stand for."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from appliance.errors import ApplianceError, BadInput
from appliance.serving import Engine, Pause
from appliance.status import BoxStatus
from appliance.supervision import MARK, members
from tests.waiting import until

WAIT_S = 30.0


class Script:
    """What a request to the fake engine does, and the events that a test waits for."""

    def __init__(self, chunks: int = 2, *, blocks: bool = False, error: Exception | None = None):
        self.chunks = chunks
        self.error = error
        self.started = threading.Event()
        self.ended = threading.Event()
        self.go = threading.Event()
        if not blocks:
            self.go.set()


class FakeEngine(Engine[Script, str]):
    """An engine without a model: its requests say what happens."""

    name: ClassVar[str] = "fake"

    def __init__(
        self, *, concurrency: int = 1, queue_limit: int = 32, load_error: Exception | None = None
    ) -> None:
        self.concurrency = concurrency
        self.queue_limit = queue_limit
        self.load_error = load_error
        self.may_load = threading.Event()
        self.may_load.set()
        self.order: list[Script] = []
        self.threads: set[int] = set()

    def _load(self) -> None:
        self.may_load.wait(WAIT_S)
        if self.load_error is not None:
            raise self.load_error

    def _sample(self) -> None:
        self.threads.add(threading.get_ident())

    def _run(self, request: Script, stop: threading.Event) -> Iterator[str | Pause]:
        self.threads.add(threading.get_ident())
        self.order.append(request)
        request.started.set()
        try:
            while not request.go.wait(0.005):
                if stop.is_set():
                    return
            if request.error is not None:
                raise request.error
            for number in range(request.chunks):
                if stop.is_set():
                    return
                yield f"chunk {number}"
        finally:
            request.ended.set()

    def models(self) -> list[str]:
        return ["fake-1"]


def bad_input() -> ApplianceError:
    """An error as an engine raises it for a wrong request."""
    return BadInput("bad_thing", "The thing is wrong.", "Send another thing.")


@contextmanager
def member_of(run_dir: Path) -> Iterator[int]:
    """A process that belongs to the box of this run folder; its id."""
    with subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: str(run_dir)}) as process:
        try:
            # The kernel shows a new program before it shows its environment.
            until(lambda: members(run_dir))
            yield process.pid
        finally:
            process.kill()


class SilentReport:
    """A report of a start that only remembers."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)

    def progress(self, box: BoxStatus) -> None:
        pass

    def ready(self, box: BoxStatus) -> None:
        pass

    def stopping(self) -> None:
        pass

    def stopped(self) -> None:
        pass
