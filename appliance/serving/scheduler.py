"""Who is served next: live work first, and lower work gives way instead of delaying it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Generic

from appliance import logs
from appliance.errors import ApplianceError, NotReady, Superseded
from appliance.serving.engine import Chunk, Engine, Pause, Req
from appliance.serving.priority import Priority, Rank

log = logs.get(__name__)

# Answers whose turn was over before a request of theirs arrived.
_REMEMBERED = 256


class State(StrEnum):
    """Where an engine is in its life."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    STOPPING = "stopping"


@dataclass(frozen=True)
class Ended:
    """The last thing a job delivers: done, or the error that ended it."""

    error: ApplianceError | None = None


@dataclass(eq=False)
class Job(Generic[Req, Chunk]):
    """One request on its way through an engine.

    ``deliver`` is called from any thread with each chunk and then once with ``Ended``.
    ``session`` is the room that asks; empty: none.
    """

    request: Req
    deliver: Callable[[Chunk | Ended], None]
    rank: Rank = field(default_factory=Rank)
    session: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
    begun: bool = False
    ended: bool = False

    @property
    def priority(self) -> Priority:
        """How soon it is served."""
        return self.rank.priority

    @property
    def gives_way(self) -> bool:
        """Whether it is put aside between chunks while callers' work is there."""
        return self.priority is Priority.BACKGROUND


class Scheduler(Generic[Req, Chunk]):
    """Runs an engine's requests in its worker threads, the most urgent first."""

    def __init__(self, engine: Engine[Req, Chunk]) -> None:
        self.engine = engine
        self.state = State.LOADING
        self.why = "The model is being loaded."
        self._changed = threading.Condition()
        self._queue: list[Job[Req, Chunk]] = []
        self._running: list[Job[Req, Chunk]] = []
        self._threads: list[threading.Thread] = []
        self._raised: deque[str] = deque(maxlen=_REMEMBERED)

    @property
    def queued(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """How many requests hold a worker, those being stopped included."""
        return len(self._running)

    def start(self) -> None:
        """Start the workers; the first one loads the model and tries it on a sample."""
        for number in range(self.engine.concurrency):
            name = f"{self.engine.name}-{number}"
            target = self._load_then_work if number == 0 else self._work
            # Daemons: a native call that hangs must not keep a stopping process alive.
            thread = threading.Thread(target=target, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Refuse new work and stop what waits or runs. Safe to call twice."""
        with self._changed:
            self._become(State.STOPPING, "The service is stopping.")
            error = NotReady("stopping", "The service is stopping.", "Ask again.", can_retry=True)
            for job in [*self._queue, *self._running]:
                self._end(job, error)

    def join(self, timeout_s: float) -> bool:
        """Wait for the workers of a closed scheduler; False if one is still busy."""
        for thread in self._threads:
            thread.join(timeout_s / len(self._threads))
        return not any(thread.is_alive() for thread in self._threads)

    def submit(self, job: Job[Req, Chunk]) -> None:
        """Queue a job, taking the place of lower work if it would have to wait.

        Raises:
            NotReady: the engine is not ready, or the queue is full.
        """
        with self._changed:
            if self.state is not State.READY:
                raise NotReady(
                    "not_ready", f"The {self.engine.name} service cannot answer now.", self.why,
                    can_retry=self.state is not State.FAILED,
                )  # fmt: skip
            if job.rank.attempt in self._raised:
                job.rank.raised()
            self._overtake(job)
            self._make_way(job.priority)
            waiting = sum(other.gives_way == job.gives_way for other in self._queue)
            limit = self.engine.background_queue if job.gives_way else self.engine.queue_limit
            if waiting >= limit:
                raise NotReady(
                    "busy", f"The {self.engine.name} service has too many requests waiting.",
                    "Ask again in a moment.", can_retry=True,
                )  # fmt: skip
            self._queue.append(job)
            self._changed.notify_all()

    def raise_attempt(self, attempt: str) -> None:
        """The turn is over that this answer was begun for: all requests for it are live, later ones too."""
        with self._changed:
            self._raised.append(attempt)
            for job in [*self._queue, *self._running]:
                if job.rank.attempt == attempt:
                    job.rank.raised()
            self._changed.notify_all()

    def end(self, job: Job[Req, Chunk], error: ApplianceError | None = None) -> None:
        """End a job early: its caller hears at once, its worker is free within one chunk."""
        with self._changed:
            self._end(job, error)

    def _overtake(self, job: Job[Req, Chunk]) -> None:
        """End the interim work of the room that asks: by now more has been said."""
        if not job.session:
            return
        for other in [*self._queue, *self._running]:
            if other.session == job.session and other.priority is Priority.INTERIM:
                self._end(other, _superseded())

    def _make_way(self, priority: Priority) -> None:
        """Stop as much lower work as a new job of this priority needs to start next."""
        ahead = sum(job.priority <= priority for job in self._queue)
        # A worker with background work takes more urgent work between two chunks of it.
        held = sum(not job.stop.is_set() and not job.gives_way for job in self._running)
        missing = ahead + 1 - (self.engine.concurrency - held)
        if missing <= 0:
            return
        error = _superseded()
        lower = [j for j in self._queue if j.priority > priority and j.priority.may_be_superseded]
        for job in lower:
            self._end(job, error)
        lower = [
            job
            for job in self._running
            if job.priority > priority and job.priority.may_be_superseded and not job.stop.is_set()
        ]
        lower.sort(key=lambda job: job.priority, reverse=True)
        for job in lower[:missing]:
            self._end(job, error)

    def _end(self, job: Job[Req, Chunk], error: ApplianceError | None) -> None:
        if job.ended:
            return
        job.ended = True
        job.stop.set()
        if job in self._queue:
            self._queue.remove(job)
        job.deliver(Ended(error))
        self._changed.notify_all()

    def _become(self, state: State, why: str = "") -> None:
        with self._changed:
            if self.state is State.STOPPING:
                return
            self.state, self.why = state, why
            self._changed.notify_all()

    def _load_then_work(self) -> None:
        try:
            self.engine.prepare()
        except ApplianceError as error:
            log.error("engine_failed", engine=self.engine.name, code=error.code, why=str(error))
            self._become(State.FAILED, str(error))
        except Exception as error:  # noqa: BLE001  any library may raise anything; stay up, say why
            log.error("engine_failed", engine=self.engine.name, **described(error))
            self._become(
                State.FAILED,
                f"The {self.engine.name} model could not be loaded ({type(error).__name__}). "
                f"`scripts/appliance logs {self.engine.name}` says where.",
            )
        else:
            log.info("engine_ready", engine=self.engine.name, models=self.engine.models())
            self._become(State.READY)
            self._work()

    def _work(self) -> None:
        while job := self._next():
            self._run_one(job)
            self._leave(job)

    def _leave(self, job: Job[Req, Chunk]) -> None:
        with self._changed:
            self._running.remove(job)
            self._changed.notify_all()

    def _next(self) -> Job[Req, Chunk] | None:
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self.state in (State.FAILED, State.STOPPING)
                    or (self.state is State.READY and self._most_urgent() is not None)
                )
            )
            job = self._most_urgent() if self.state is State.READY else None
            if job is not None:
                self._begin(job)
            return job

    def _begin(self, job: Job[Req, Chunk]) -> None:
        self._queue.remove(job)
        self._running.append(job)
        job.begun = True

    def _most_urgent(self) -> Job[Req, Chunk] | None:
        """The waiting job that a free worker may begin."""
        job = min(self._queue, key=lambda job: job.priority, default=None)
        if job is not None and job.gives_way:
            begun = sum(other.gives_way for other in self._running)
            if begun >= self.engine.background_at_once or self._callers_run():
                return None
        return job

    def _callers_run(self) -> bool:
        return any(not job.gives_way for job in self._running)

    def _give_way(self, job: Job[Req, Chunk]) -> None:
        """Put a background job aside, on its own thread, until no other work is there."""
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: job.stop.is_set() or self._callers_wait() or not self._callers_run()
                )
                if job.stop.is_set() or not self._callers_wait():
                    return
                urgent = min(self._queue, key=lambda other: other.priority)
                self._begin(urgent)
            self._run_one(urgent)
            self._leave(urgent)

    def _callers_wait(self) -> bool:
        return any(not job.gives_way for job in self._queue)

    def _run_one(self, job: Job[Req, Chunk]) -> None:
        error: ApplianceError | None = None
        chunks = self.engine.run(job.request, job.stop)
        try:
            for chunk in chunks:
                if job.stop.is_set():
                    break
                if not isinstance(chunk, Pause):
                    job.deliver(chunk)
                if job.gives_way:
                    self._give_way(job)
                    if job.stop.is_set():
                        break
        except ApplianceError as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001  one request fails, the worker lives on
            log.error("request_failed", engine=self.engine.name, **described(raised))
            error = ApplianceError(
                "engine_error", f"The {self.engine.name} service failed on this request.",
                f"`scripts/appliance logs {self.engine.name}` says where.",
            )  # fmt: skip
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        self.end(job, error)


def _superseded() -> Superseded:
    return Superseded(
        "superseded", "More urgent work took this request's place.", "Ask again if still needed.",
        can_retry=True,
    )  # fmt: skip


def described(error: BaseException) -> dict[str, str]:
    """An exception for the log: kind and place, not its words, which may quote the caller."""
    trace = error.__traceback__
    place = ""
    while trace is not None:
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return {"error": type(error).__name__, "where": place}
