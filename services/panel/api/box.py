"""The box as a whole: its state, its last hour, its programs' logs, a restart."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Path, Query, Request
from pydantic import BaseModel

from appliance.errors import NotFound
from appliance.logfiles import LogFile, latest, log_names, log_path
from appliance.settings import Settings
from services.panel.access.audit import note
from services.panel.box.restarting import Restarts
from services.panel.box.sampler import EVERY_S
from services.panel.box.state import BoxState, box_of

router = APIRouter(prefix="/api/v1/box", tags=["box"])
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "`program_unknown`"}}
_NOT_RUNNING: dict[int | str, dict[str, Any]] = {503: {"description": "`not_ready`"}}
ProgramName = Annotated[str, Path(max_length=40)]


class History(BaseModel):
    """The last hour, a list per figure, oldest first; null: there was no GPU to ask."""

    every_s: float
    at: list[float]
    """Seconds since 1970."""
    cpu_percent: list[float]
    memory_used: list[int]
    gpu_percent: list[int | None]
    gpu_memory_used: list[int | None]
    gpu_temperature_c: list[int | None]
    calls: list[int]


class Restarting(BaseModel):
    """A restart that has begun."""

    program: str
    restarting: bool


class Line(BaseModel):
    """One line of a log, without speech and secrets."""

    at: datetime | None
    level: str
    event: str
    rest: str


class LogTail(BaseModel):
    """The end of a program's log, oldest first."""

    program: str
    lines: list[Line]


@router.get("")
async def box(request: Request) -> BoxState:
    """Everything that the first page shows: ready or not and why, programs, GPU, memory, calls, errors."""
    return await box_of(request).state()


@router.get("/history")
async def history(request: Request) -> History:
    """The machine's figures every two seconds, at most an hour of them."""
    columns: dict[str, Any] = box_of(request).sampler.columns()
    return History(every_s=EVERY_S, **columns)


@router.post("/programs/{name}/restart", status_code=202, responses={**_UNKNOWN, **_NOT_RUNNING})
async def restart(request: Request, name: ProgramName, after: BackgroundTasks) -> Restarting:
    """Restart one program. The answer comes first: it may pass through that very program."""
    restarts: Restarts = request.app.state.restarts
    await restarts.check(name)
    await note(request, "program.restarted", object=name)
    after.add_task(restarts.restart, name)
    return Restarting(program=name, restarting=True)


@router.get("/programs/{name}/log", responses=_UNKNOWN)
async def tail(
    request: Request, name: ProgramName, lines: Annotated[int, Query(ge=1, le=500)] = 100
) -> LogTail:
    """The end of a program's log; also of `watch`, `supervisord` and `command`."""
    settings: Settings = request.app.state.settings
    known = log_names(settings)
    if name not in known:
        raise NotFound(
            "program_unknown", "The box has no such program.", f"It has {', '.join(known)}."
        )
    found = await asyncio.to_thread(latest, [LogFile(log_path(settings, name))], lines)
    cleaned = [line.cleaned() for line in found]
    return LogTail(
        program=name,
        lines=[
            Line(
                at=datetime.fromtimestamp(line.at, UTC) if line.at else None,
                level=line.level[:20], event=line.event, rest=line.rest,
            )
            for line in cleaned
        ],
    )  # fmt: skip
