"""Who is served next, what gives way, and what a failing engine leaves behind."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from appliance.errors import ApplianceError, NotReady
from appliance.serving import Job, Priority, Rank, Scheduler, State
from appliance.serving.scheduler import Ended
from tests.fakes import WAIT_S, FakeEngine, Script, bad_input
from tests.waiting import until

pytestmark = pytest.mark.unit


class Caller:
    """A request's other end."""

    def __init__(
        self,
        script: Script,
        priority: Priority = Priority.LIVE,
        session: str = "",
        attempt: str = "",
    ) -> None:
        self.script = script
        self.received: queue.Queue[str | Ended] = queue.Queue()
        self.job: Job[Script, str] = Job(
            script, self.received.put, Rank(priority, attempt), session
        )

    def outcome(self) -> tuple[list[str], ApplianceError | None]:
        """Chunks until the end, and the error at the end."""
        chunks: list[str] = []
        while not isinstance(item := self.received.get(timeout=WAIT_S), Ended):
            chunks.append(item)
        return chunks, item.error


@pytest.fixture
def running() -> Iterator[Callable[..., Scheduler[Script, str]]]:
    started: list[Scheduler[Script, str]] = []

    def start(engine: FakeEngine | None = None) -> Scheduler[Script, str]:
        scheduler: Scheduler[Script, str] = Scheduler(engine or FakeEngine())
        started.append(scheduler)
        scheduler.start()
        until(lambda: scheduler.state is not State.LOADING)
        return scheduler

    yield start
    for scheduler in started:
        scheduler.close()
        assert scheduler.join(WAIT_S)


Start = Callable[..., Scheduler[Script, str]]


def submit(scheduler: Scheduler[Script, str], *callers: Caller) -> None:
    for caller in callers:
        scheduler.submit(caller.job)


def code(error: ApplianceError | None) -> str:
    return error.code if error else "ok"


def test_a_request_yields_its_chunks_in_order(running: Start) -> None:
    scheduler, caller = running(), Caller(Script(chunks=3))
    submit(scheduler, caller)
    assert caller.outcome() == (["chunk 0", "chunk 1", "chunk 2"], None)


def test_live_work_goes_before_speculative_before_interim(running: Start) -> None:
    engine = FakeEngine()
    scheduler = running(engine)
    first = Caller(Script(blocks=True))
    interim = Caller(Script(), Priority.INTERIM)
    live = Caller(Script())
    submit(scheduler, first)
    assert first.script.started.wait(WAIT_S)
    submit(scheduler, live)
    # Lower work that arrives while live work waits is not refused; it waits behind.
    speculative = Caller(Script(), Priority.SPECULATIVE)
    submit(scheduler, interim)
    first.script.go.set()
    for caller in (first, live):
        assert code(caller.outcome()[1]) == "ok"
    interim.outcome()
    submit(scheduler, speculative)
    assert code(speculative.outcome()[1]) == "ok"
    assert engine.order[:3] == [first.script, live.script, interim.script]


def test_waiting_lower_work_is_superseded_by_live_work(running: Start) -> None:
    scheduler = running()
    first = Caller(Script(blocks=True))
    speculative = Caller(Script(), Priority.SPECULATIVE)
    interim = Caller(Script(), Priority.INTERIM)
    live = Caller(Script())
    submit(scheduler, first)
    assert first.script.started.wait(WAIT_S)
    submit(scheduler, speculative, interim, live)
    for caller in (speculative, interim):
        chunks, error = caller.outcome()
        assert (chunks, code(error), error and error.http_status) == ([], "superseded", 409)
    first.script.go.set()
    assert code(live.outcome()[1]) == "ok"


@pytest.mark.parametrize("later", [Priority.INTERIM, Priority.SPECULATIVE, Priority.LIVE])
def test_a_rooms_interim_work_is_overtaken_by_its_next_request(
    running: Start, later: Priority
) -> None:
    engine = FakeEngine()
    engine.concurrency = 8
    scheduler = running(engine)
    old = Caller(Script(blocks=True), Priority.INTERIM, "kitchen")
    elsewhere = Caller(Script(blocks=True), Priority.INTERIM, "hall")
    nowhere = Caller(Script(blocks=True), Priority.INTERIM)
    guess = Caller(Script(blocks=True), Priority.SPECULATIVE, "kitchen")
    submit(scheduler, guess, old, elsewhere, nowhere)
    for caller in (guess, old, elsewhere, nowhere):
        assert caller.script.started.wait(WAIT_S)
    new = Caller(Script(), later, "kitchen")
    submit(scheduler, new)
    assert code(old.outcome()[1]) == "superseded"
    for caller in (guess, old, elsewhere, nowhere):
        caller.script.go.set()
    for caller in (guess, elsewhere, nowhere, new):
        assert code(caller.outcome()[1]) == "ok"


def test_running_lower_work_is_stopped_when_live_work_waits(running: Start) -> None:
    scheduler = running()
    speculative = Caller(Script(blocks=True), Priority.SPECULATIVE)
    live = Caller(Script())
    submit(scheduler, speculative)
    assert speculative.script.started.wait(WAIT_S)
    submit(scheduler, live)
    assert code(speculative.outcome()[1]) == "superseded"
    assert code(live.outcome()[1]) == "ok"


def test_lower_work_keeps_running_while_a_worker_is_free(running: Start) -> None:
    scheduler = running(FakeEngine(concurrency=2))
    speculative = Caller(Script(blocks=True), Priority.SPECULATIVE)
    live = Caller(Script())
    submit(scheduler, speculative)
    assert speculative.script.started.wait(WAIT_S)
    submit(scheduler, live)
    assert code(live.outcome()[1]) == "ok"
    speculative.script.go.set()
    assert code(speculative.outcome()[1]) == "ok"


def test_an_answer_begun_early_is_never_superseded_and_waits_behind_live_work(
    running: Start,
) -> None:
    engine = FakeEngine()
    scheduler = running(engine)
    first = Caller(Script(blocks=True), Priority.PREEMPTIVE, attempt="first")
    submit(scheduler, first)
    assert first.script.started.wait(WAIT_S)
    early = Caller(Script(), Priority.PREEMPTIVE, attempt="early")
    guess = Caller(Script(), Priority.SPECULATIVE)
    live = Caller(Script())
    submit(scheduler, early, guess, live)
    assert code(guess.outcome()[1]) == "superseded"
    first.script.go.set()
    assert [code(one.outcome()[1]) for one in (first, early, live)] == ["ok"] * 3
    assert engine.order == [first.script, live.script, early.script]


@pytest.mark.parametrize("when", ["waiting", "before it comes"])
def test_an_answer_is_live_once_its_turn_is_over(running: Start, when: str) -> None:
    engine = FakeEngine()
    scheduler = running(engine)
    first, live = Caller(Script(blocks=True)), Caller(Script())
    early = Caller(Script(), Priority.PREEMPTIVE, attempt="the-answer")
    other = Caller(Script(), Priority.PREEMPTIVE, attempt="another")
    guess = Caller(Script(), Priority.SPECULATIVE, attempt="the-answer")
    submit(scheduler, first)
    assert first.script.started.wait(WAIT_S)
    if when == "before it comes":
        scheduler.raise_attempt("the-answer")
    submit(scheduler, other, early, live)
    scheduler.raise_attempt("the-answer")
    submit(scheduler, guess)
    assert [one.job.priority.name for one in (early, other, guess)] == [
        "LIVE", "PREEMPTIVE", "SPECULATIVE",
    ]  # fmt: skip
    first.script.go.set()
    assert [code(one.outcome()[1]) for one in (first, early, live, other)] == ["ok"] * 4
    assert engine.order[:4] == [first.script, early.script, live.script, other.script]


def test_live_work_never_stops_live_work(running: Start) -> None:
    scheduler = running()
    first, second = Caller(Script(blocks=True)), Caller(Script())
    submit(scheduler, first)
    assert first.script.started.wait(WAIT_S)
    submit(scheduler, second)
    assert not first.job.stop.is_set()
    first.script.go.set()
    assert code(first.outcome()[1]) == code(second.outcome()[1]) == "ok"


def test_only_as_much_lower_work_stops_as_is_needed(running: Start) -> None:
    scheduler = running(FakeEngine(concurrency=2))
    speculative = Caller(Script(blocks=True), Priority.SPECULATIVE)
    interim = Caller(Script(blocks=True), Priority.INTERIM)
    submit(scheduler, speculative, interim)
    assert speculative.script.started.wait(WAIT_S)
    assert interim.script.started.wait(WAIT_S)
    live = Caller(Script())
    submit(scheduler, live)
    assert code(interim.outcome()[1]) == "superseded"
    assert code(live.outcome()[1]) == "ok"
    assert not speculative.job.stop.is_set()
    speculative.script.go.set()
    assert code(speculative.outcome()[1]) == "ok"


def test_ending_a_running_job_frees_its_worker(running: Start) -> None:
    scheduler, caller = running(), Caller(Script(blocks=True))
    submit(scheduler, caller)
    assert caller.script.started.wait(WAIT_S)
    scheduler.end(caller.job)
    assert caller.script.ended.wait(WAIT_S)
    until(lambda: scheduler.running == 0)


def test_ending_a_waiting_job_means_it_never_runs(running: Start) -> None:
    engine = FakeEngine()
    scheduler = running(engine)
    first, second = Caller(Script(blocks=True)), Caller(Script())
    submit(scheduler, first)
    assert first.script.started.wait(WAIT_S)
    submit(scheduler, second)
    scheduler.end(second.job)
    assert scheduler.queued == 0
    first.script.go.set()
    first.outcome()
    assert second.script not in engine.order


def test_a_full_queue_refuses_and_says_so(running: Start) -> None:
    scheduler = running(FakeEngine(queue_limit=1))
    first, second = Caller(Script(blocks=True)), Caller(Script())
    submit(scheduler, first)
    assert first.script.started.wait(WAIT_S)
    submit(scheduler, second)
    with pytest.raises(NotReady) as refused:
        submit(scheduler, Caller(Script()))
    assert refused.value.code == "busy"
    assert refused.value.can_retry
    first.script.go.set()


def test_an_engines_own_error_reaches_the_caller_and_the_worker_lives_on(running: Start) -> None:
    scheduler = running()
    wrong, fine = Caller(Script(error=bad_input())), Caller(Script())
    submit(scheduler, wrong, fine)
    assert code(wrong.outcome()[1]) == "bad_thing"
    assert code(fine.outcome()[1]) == "ok"


def test_an_unknown_errors_words_never_leave(
    running: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    scheduler, caller = running(), Caller(Script(error=RuntimeError("what the caller said")))
    submit(scheduler, caller)
    _, error = caller.outcome()
    assert code(error) == "engine_error"
    assert "what the caller said" not in str(error)
    assert "what the caller said" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "why"),
    [(bad_input(), "The thing is wrong."), (ValueError("inner words"), "ValueError")],
)
def test_an_engine_that_cannot_load_says_why(running: Start, error: Exception, why: str) -> None:
    scheduler = running(FakeEngine(load_error=error))
    assert scheduler.state is State.FAILED
    assert why in scheduler.why
    assert "inner words" not in scheduler.why
    with pytest.raises(NotReady) as refused:
        submit(scheduler, Caller(Script()))
    assert not refused.value.can_retry


def test_closing_ends_everything(running: Start) -> None:
    scheduler = running()
    callers = [Caller(Script(blocks=True)), Caller(Script())]
    submit(scheduler, callers[0])
    assert callers[0].script.started.wait(WAIT_S)
    submit(scheduler, callers[1])
    scheduler.close()
    assert [code(caller.outcome()[1]) for caller in callers] == ["stopping", "stopping"]
    with pytest.raises(NotReady):
        submit(scheduler, Caller(Script()))


def test_one_thread_loads_and_runs_when_concurrency_is_one(running: Start) -> None:
    engine = FakeEngine()
    scheduler, caller = running(engine), Caller(Script())
    submit(scheduler, caller)
    caller.outcome()
    assert len(engine.threads) == 1
    assert threading.get_ident() not in engine.threads
