"""Between an HTTP request and a job: a client that leaves, deadlines, the first chunk."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from fastapi import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from appliance import logs
from appliance.errors import ApplianceError, BadInput, NotReady, TimedOut
from appliance.serving.engine import Chunk, Engine, Req
from appliance.serving.metrics import Metrics
from appliance.serving.priority import Priority, Rank
from appliance.serving.scheduler import Ended, Job

log = logs.get(__name__)
Item = TypeVar("Item")

PRIORITY_HEADER = "x-earshot-priority"
SESSION_HEADER = "x-earshot-session"
ATTEMPT_HEADER = "x-earshot-attempt"
BACKGROUND_WAIT_S = 30.0
"""How long background work waits to begin; then it is answered 503."""
_BACKGROUND_SLOWER = 5
"""Its deadline is this many times longer: the time that it was put aside is in it."""


class ClientGone(ApplianceError):
    """The client closed its connection; nobody reads this answer."""

    http_status = 499


async def stream(
    engine: Engine[Req, Chunk],
    request: Req,
    *,
    http: Request,
    deadline_s: float,
    rank: Rank | None = None,
    session: str | None = None,
) -> AsyncGenerator[Chunk, None]:
    """Run a request and yield its chunks. The request's body must have been read.

    The last chunk must come within ``deadline_s`` seconds. Rank and session default to
    the request's ``X-Earshot-*`` headers.

    Raises:
        ApplianceError: busy, not ready, superseded, too late, or the engine's own.
    """
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[Chunk | Ended] = asyncio.Queue()

    def deliver(item: Chunk | Ended) -> None:
        # The loop is closed when the process is stopping: nobody is left to tell.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(arrived.put_nowait, item)

    session = session or http.headers.get(SESSION_HEADER, "")
    job: Job[Req, Chunk] = Job(request, deliver, rank or rank_of(http), session)
    metrics: Metrics = http.app.state.metrics
    if job.gives_way:
        deadline_s *= _BACKGROUND_SLOWER
    late = TimedOut(
        "deadline", f"The {engine.name} service needed more than {deadline_s:g} s.",
        "Ask for less at once.",
    )  # fmt: skip
    started, chunks, result = time.monotonic(), 0, "cancelled"
    timers = [loop.call_later(deadline_s, engine.scheduler.end, job, late)]
    if job.gives_way:
        timers.append(loop.call_later(BACKGROUND_WAIT_S, _end_if_still_waiting, engine, job))
    watcher = loop.create_task(_end_when_client_leaves(http, engine, job))
    try:
        engine.scheduler.submit(job)
        while not isinstance(item := await arrived.get(), Ended):
            if not chunks:
                metrics.first_chunk(job.priority, time.monotonic() - started)
            chunks += 1
            yield item
        if item.error is not None:
            raise item.error
        result = "ok"
    except ApplianceError as error:
        result = metrics.result_of(error)
        raise
    finally:
        for timer in timers:
            timer.cancel()
        watcher.cancel()
        engine.scheduler.end(job)
        http.state.counted = True
        took_s = time.monotonic() - started
        metrics.request(job.priority, result, took_s)
        log.debug(
            "request", result=result, priority=job.priority.name.lower(), chunks=chunks,
            dur_ms=round(took_s * 1000), session=session,
        )  # fmt: skip


async def _end_when_client_leaves(
    http: Request, engine: Engine[Req, Chunk], job: Job[Req, Chunk]
) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass
    engine.scheduler.end(job, ClientGone("client_gone", "The client closed the connection."))


def _end_if_still_waiting(engine: Engine[Req, Chunk], job: Job[Req, Chunk]) -> None:
    if not job.begun:
        busy = NotReady(
            "busy", f"The {engine.name} service is busy with calls or other requests.",
            "Ask again later.", can_retry=True,
        )  # fmt: skip
        engine.scheduler.end(job, busy)


def priority_of(http: Request) -> Priority:
    """The request's priority; live when it says nothing.

    Raises:
        BadInput: the header has another value.
    """
    text = http.headers.get(PRIORITY_HEADER, "live")
    try:
        return Priority[text.upper()]
    except KeyError:
        raise BadInput(
            "bad_priority", "X-Earshot-Priority has an unknown value.",
            "Use live, preemptive, speculative, interim or background.",
        ) from None  # fmt: skip


def rank_of(http: Request) -> Rank:
    """The request's rank, for its engine and its job.

    Raises:
        BadInput: its priority has an unknown value.
    """
    return Rank(priority_of(http), http.headers.get(ATTEMPT_HEADER, ""))


async def primed(chunks: AsyncGenerator[Item, None]) -> AsyncGenerator[Item, None]:
    """Wait for the first chunk, so that an error before it still gets its own HTTP status."""
    first = await anext(chunks, None)

    async def rest() -> AsyncGenerator[Item, None]:
        async with contextlib.aclosing(chunks):
            if first is not None:
                yield first
            async for chunk in chunks:
                yield chunk

    return rest()


class _Streamed(StreamingResponse):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except* ApplianceError as group:
            # Too late for a status: the answer stays visibly incomplete.
            log.warning("answer_broken_off", codes=[str(e) for e in _codes(group)])


def _codes(group: BaseExceptionGroup[ApplianceError]) -> list[str]:
    found: list[str] = []
    for error in group.exceptions:
        found += _codes(error) if isinstance(error, BaseExceptionGroup) else [error.code]
    return found


def streamed(body: AsyncIterator[bytes], media_type: str) -> StreamingResponse:
    """A response sent as it is made; one that fails midway ends without its last chunk."""
    return _Streamed(body, media_type=media_type, headers={"Cache-Control": "no-store"})
