"""What the box's own programs tell the panel: jobs hold a stream, LiveKit sends webhooks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from appliance import logs
from appliance.errors import BadInput, Refused
from appliance.store import EndState
from services.panel.calls import Call, Job
from services.panel.desk import Desk
from services.panel.rooms import AGENT_PREFIX

_HELLO_S = 5.0
_LAST_WORDS_S = 5.0
_LONGEST_LINE = 16 << 10

log = logs.get(__name__)
router = APIRouter(prefix="/internal")


class Hello(BaseModel):
    """The first line of a job's stream."""

    model_config = ConfigDict(extra="ignore")
    type: Literal["hello"]
    pid: int
    identity: Annotated[str, Field(pattern=f"^{AGENT_PREFIX}", max_length=128)]


class Goodbye(BaseModel):
    """The last line of a job's stream."""

    model_config = ConfigDict(extra="ignore")
    type: Literal["goodbye"]
    state: EndState
    reason: str = ""


@router.post("/v1/jobs/{session_id}")
async def hold_job(request: Request, session_id: str) -> dict[str, str]:
    """The body stays open for the whole call; its end without a goodbye means the agent is dead."""
    desk: Desk = request.app.state.desk
    lines = _lines(request)
    hello = await _hello(lines)
    job = Job(hello.pid, hello.identity)
    call = await desk.job_began(session_id, job)
    log.info("job_began", session=session_id, pid=job.pid, identity=job.identity)
    reading = asyncio.create_task(_goodbye(lines))
    releasing = asyncio.create_task(_released(job))
    try:
        await asyncio.wait({reading, releasing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        releasing.cancel()
        job.gone.set()
        if not reading.done():
            reading.cancel()
    if not reading.done():
        return {"outcome": "released"}
    return await _settle(desk, call, job, reading.result())


async def _settle(desk: Desk, call: Call, job: Job, goodbye: Goodbye | None) -> dict[str, str]:
    if goodbye is None:
        await desk.job_ended(call, job)
        return {"outcome": "lost"}
    if call.job is job or call.job is None:
        await desk.end(call.session.id, goodbye.state, goodbye.reason)
    return {"outcome": "ended"}


@router.post("/livekit")
async def livekit_webhook(request: Request) -> dict[str, str]:
    """Something happened in a room. What it was, the watch sees for itself."""
    desk: Desk = request.app.state.desk
    authorization = request.headers.get("authorization", "")
    try:
        body = (await request.body()).decode()
    except UnicodeDecodeError as error:
        raise BadInput("bad_request", "The webhook is not UTF-8.") from error
    if not desk.rooms.webhook_is_genuine(body, authorization):
        raise Refused("webhook_refused", "The webhook is not signed by this box's media server.")
    log.debug("webhook_noted")
    desk.news.set()
    return {"outcome": "noted"}


async def _lines(request: Request) -> AsyncIterator[dict[str, Any]]:
    """JSON objects of an open body, one per line; ends when the sender does, however it does.

    Raises:
        BadInput: a line is too long or no JSON object.
    """
    rest = b""
    try:
        async for chunk in request.stream():
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                if line.strip():
                    yield _object(line)
            if len(rest) > _LONGEST_LINE:
                raise BadInput("bad_request", "A line of the job's stream is too long.")
    except ClientDisconnect:
        return
    if rest.strip():
        yield _object(rest)


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise BadInput("bad_request", "A line of the job's stream is not JSON.") from error
    if not isinstance(value, dict):
        raise BadInput("bad_request", "A line of the job's stream is no object.")
    return value


async def _hello(lines: AsyncIterator[dict[str, Any]]) -> Hello:
    try:
        return Hello.model_validate(await asyncio.wait_for(anext(lines), _HELLO_S))
    except (TimeoutError, StopAsyncIteration, ValidationError) as error:
        raise BadInput("bad_request", "A job's stream begins with a hello.") from error


async def _goodbye(lines: AsyncIterator[dict[str, Any]]) -> Goodbye | None:
    """The goodbye, or None if the stream ends without one."""
    try:
        async for line in lines:
            if line.get("type") == "goodbye":
                return Goodbye.model_validate(line)
    except (BadInput, ValidationError):
        log.warning("job_stream_garbled")
    return None


async def _released(job: Job) -> None:
    """Until the panel is done with the job and it had time to write its last turn."""
    await job.released.wait()
    await asyncio.sleep(_LAST_WORDS_S)
