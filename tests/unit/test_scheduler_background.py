"""Background work gives way between chunks, goes on afterwards, and never fills the callers' queue."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from appliance.errors import NotReady
from appliance.serving import PAUSE, Job, Pause, Priority, Rank, Scheduler, State
from appliance.serving.scheduler import Ended
from tests.fakes import WAIT_S, FakeEngine, Script
from tests.waiting import until

pytestmark = pytest.mark.unit


class Steps(FakeEngine):
    """An engine whose every chunk waits to be let through, and which tells the order of them."""

    def __init__(self, concurrency: int = 1, queue_limit: int = 32) -> None:
        super().__init__(concurrency=concurrency, queue_limit=queue_limit)
        self.log: list[tuple[Script, int]] = []

    def _run(self, request: Script, stop: threading.Event) -> Iterator[str | Pause]:
        self.threads.add(threading.get_ident())
        request.started.set()
        for number in range(request.chunks):
            while not request.go.wait(0.005):
                if stop.is_set():
                    return
            self.log.append((request, number))
            yield PAUSE if number % 2 else f"chunk {number}"
        request.ended.set()


class Asked:
    """A request and what it was answered."""

    def __init__(self, priority: Priority, chunks: int = 4, *, blocks: bool = False) -> None:
        self.script = Script(chunks, blocks=blocks)
        self.chunks: list[str] = []
        self.end: Ended | None = None
        self.told = threading.Event()
        self.job: Job[Script, str] = Job(self.script, self.take, Rank(priority))

    def take(self, item: str | Ended) -> None:
        if isinstance(item, Ended):
            self.end = item
            self.told.set()
        else:
            self.chunks.append(item)

    def code(self) -> str:
        assert self.told.wait(WAIT_S)
        assert self.end is not None
        return self.end.error.code if self.end.error else "ok"


Start = Callable[[Steps], Scheduler[Script, str]]


@pytest.fixture
def running() -> Iterator[Start]:
    started: list[Scheduler[Script, str]] = []

    def start(engine: Steps) -> Scheduler[Script, str]:
        scheduler: Scheduler[Script, str] = Scheduler(engine)
        started.append(scheduler)
        scheduler.start()
        until(lambda: scheduler.state is State.READY)
        return scheduler

    yield start
    for scheduler in started:
        scheduler.close()
        assert scheduler.join(WAIT_S)


@pytest.mark.parametrize("urgent", [Priority.LIVE, Priority.SPECULATIVE, Priority.INTERIM])
def test_callers_overtake_background_work_after_one_chunk(running: Start, urgent: Priority) -> None:
    engine = Steps()
    scheduler = running(engine)
    slow = Asked(Priority.BACKGROUND, 6, blocks=True)
    scheduler.submit(slow.job)
    assert slow.script.started.wait(WAIT_S)
    caller = Asked(urgent)
    scheduler.submit(caller.job)
    slow.script.go.set()
    assert (caller.code(), slow.code()) == ("ok", "ok")
    order = [script is caller.script for script, _ in engine.log]
    # At most the one chunk that was under way came before the caller's first.
    assert order == [False, *[True] * 4, *[False] * 5]
    assert slow.chunks == ["chunk 0", "chunk 2", "chunk 4"]
    assert len(engine.threads) == 1


def test_background_work_waits_while_callers_use_the_other_worker(running: Start) -> None:
    engine = Steps(concurrency=2)
    scheduler = running(engine)
    slow, caller = Asked(Priority.BACKGROUND, 2, blocks=True), Asked(Priority.LIVE, blocks=True)
    scheduler.submit(slow.job)
    assert slow.script.started.wait(WAIT_S)
    scheduler.submit(caller.job)
    assert caller.script.started.wait(WAIT_S)
    slow.script.go.set()
    until(lambda: engine.log == [(slow.script, 0)])
    later = Asked(Priority.BACKGROUND)
    scheduler.submit(later.job)
    caller.script.go.set()
    assert (caller.code(), slow.code(), later.code()) == ("ok", "ok", "ok")
    assert engine.log[1:5] == [(caller.script, number) for number in range(4)]


def test_it_does_not_begin_while_callers_run(running: Start) -> None:
    engine = Steps(concurrency=2)
    scheduler = running(engine)
    caller, slow = Asked(Priority.LIVE, blocks=True), Asked(Priority.BACKGROUND)
    scheduler.submit(caller.job)
    assert caller.script.started.wait(WAIT_S)
    scheduler.submit(slow.job)
    assert not slow.job.begun
    caller.script.go.set()
    assert slow.code() == "ok"
    assert [script for script, _ in engine.log[:4]] == [caller.script] * 4


def test_only_so_many_begin_at_once(running: Start) -> None:
    scheduler = running(Steps(concurrency=3))
    first, second = (Asked(Priority.BACKGROUND, blocks=True) for _ in range(2))
    scheduler.submit(first.job)
    assert first.script.started.wait(WAIT_S)
    scheduler.submit(second.job)
    caller = Asked(Priority.LIVE)
    scheduler.submit(caller.job)
    assert caller.code() == "ok"
    assert not second.job.begun
    for each in (first, second):
        each.script.go.set()
        assert each.code() == "ok"


def test_its_queue_is_its_own(running: Start) -> None:
    engine = Steps(queue_limit=1)
    engine.background_queue = 2
    scheduler = running(engine)
    first = Asked(Priority.BACKGROUND, blocks=True)
    scheduler.submit(first.job)
    assert first.script.started.wait(WAIT_S)
    waiting = [Asked(Priority.BACKGROUND) for _ in range(2)]
    for each in waiting:
        scheduler.submit(each.job)
    with pytest.raises(NotReady) as refused:
        scheduler.submit(Asked(Priority.BACKGROUND).job)
    assert refused.value.code == "busy"
    caller = Asked(Priority.LIVE)
    scheduler.submit(caller.job)
    first.script.go.set()
    assert [each.code() for each in (caller, first, *waiting)] == ["ok"] * 4


def test_one_that_is_put_aside_can_be_ended(running: Start) -> None:
    engine = Steps()
    scheduler = running(engine)
    slow, caller = Asked(Priority.BACKGROUND, blocks=True), Asked(Priority.LIVE, blocks=True)
    scheduler.submit(slow.job)
    assert slow.script.started.wait(WAIT_S)
    scheduler.submit(caller.job)
    slow.script.go.set()
    assert caller.script.started.wait(WAIT_S)
    scheduler.end(slow.job)
    caller.script.go.set()
    assert caller.code() == "ok"
    until(lambda: scheduler.running == 0)
    assert [number for script, number in engine.log if script is slow.script] == [0]


def test_closing_ends_what_is_put_aside(running: Start) -> None:
    scheduler = running(Steps(concurrency=2))
    slow, caller = Asked(Priority.BACKGROUND, blocks=True), Asked(Priority.LIVE, blocks=True)
    scheduler.submit(slow.job)
    assert slow.script.started.wait(WAIT_S)
    scheduler.submit(caller.job)
    slow.script.go.set()
    until(lambda: slow.chunks)
    scheduler.close()
    assert (slow.code(), caller.code()) == ("stopping", "stopping")
