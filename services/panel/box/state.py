"""The whole state of the box in one answer, for the page and for programs."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from pydantic import BaseModel

from appliance import __version__
from appliance.components import Component
from appliance.gpu import Gpu
from appliance.host import Host
from appliance.settings import Settings
from appliance.status import BoxStatus, ProgramStatus
from appliance.store import Session
from services.panel.box.names import effect_of_restart, title_of
from services.panel.box.sampler import Sampler
from services.panel.box.troubles import Troubles
from services.panel.desk import Desk
from services.panel.readiness import Readiness


class ProgramState(BaseModel):
    """One program."""

    name: str
    title: str
    state: str
    """stopped, starting, loading, ready, failed, restarting, silent or given_up."""
    ready: bool
    why: str
    uptime_s: int
    restarts: int
    memory_bytes: int | None
    """Proportional set size with its children; null while unknown."""
    restart_effect: str
    """What callers notice of a restart."""


class GpuState(BaseModel):
    """The first GPU; a figure it does not tell is null."""

    state: str
    """present, absent, driver_mismatch, lost, refused or unknown."""
    why: str
    hint: str
    name: str
    driver: str
    cuda: str
    temperature_c: int | None
    load_percent: int | None
    power_w: float | None
    power_limit_w: float | None
    memory_total: int | None
    memory_used: int | None
    memory_free: int | None


class HostState(BaseModel):
    """The machine; memory and disk in bytes."""

    cpu_percent: float
    cores: int
    memory_total: int
    memory_free: int
    disk_total: int
    disk_free: int


class Part(BaseModel):
    """One use of the memory."""

    name: str
    title: str
    bytes: int
    measured: bool
    """False: estimated from the model's own metadata."""


class MemoryState(BaseModel):
    """The GPU's memory, or the machine's where there is no GPU."""

    place: str
    """gpu or ram."""
    total: int
    parts: list[Part]


class CallNow(BaseModel):
    """One open call."""

    id: str
    persona: str
    caller_name: str
    origin: str
    started_at: datetime
    duration_s: int


class TroubleState(BaseModel):
    """One thing that went wrong lately."""

    at: datetime
    where: str
    message: str
    hint: str
    link: str
    times: int


class BoxState(BaseModel):
    """Everything that the first page shows."""

    ready: bool
    why: list[str]
    """Why it is not ready, a sentence for each reason; empty when it is."""
    version: str
    at: datetime
    programs: list[ProgramState]
    gpu: GpuState
    host: HostState
    memory: MemoryState
    calls: list[CallNow]
    seats: int
    waiting: int
    """Callers in the line for a seat."""
    errors: list[TroubleState]


class Box:
    """Puts the state together."""

    def __init__(
        self, settings: Settings, desk: Desk, readiness: Readiness, sampler: Sampler
    ) -> None:
        self.sampler = sampler
        self.troubles = Troubles(settings, desk.store)
        self._desk = desk
        self._readiness = readiness

    async def state(self) -> BoxState:
        """The box as it is now.

        Raises:
            ApplianceError: the store does not answer.
        """
        status = await self._readiness.look()
        gpu, host = await self.sampler.look()
        parts = await self.sampler.components()
        memory = await self.sampler.used_by()
        sessions = await asyncio.to_thread(self._desk.store.sessions.open)
        troubles = await asyncio.to_thread(self.troubles.latest)
        line = await self._desk.queue.line()
        pause = self._readiness.pause()
        now = datetime.now(UTC)
        return BoxState(
            ready=status.ready and not pause,
            why=[*([pause] if pause else []), *reasons(status)],
            version=__version__,
            at=now,
            programs=[_program(one, memory.get(one.name)) for one in status.programs],
            gpu=GpuState(**asdict(gpu)),
            host=HostState(**asdict(host)),
            memory=_memory(gpu, host, parts),
            calls=[_call(one, now) for one in sessions],
            seats=self._desk.seats.count,
            waiting=line["waiting"],
            errors=[TroubleState(**asdict(one)) for one in troubles],
        )


def box_of(request: Request) -> Box:
    """The app's."""
    box: Box = request.app.state.box
    return box


def reasons(status: BoxStatus) -> list[str]:
    """Why the box takes no calls, a sentence for each reason with the programs that it keeps away."""
    if status.programs and all(one.state == "stopped" for one in status.programs):
        return ["None of its programs runs."]
    named: dict[str, list[str]] = {}
    for one in status.programs:
        if not one.ready:
            named.setdefault(one.why or f"{one.state}.", []).append(title_of(one.name))
    return [f"{', '.join(titles)}: {why}" for why, titles in named.items()]


def _program(one: ProgramStatus, memory: int | None) -> ProgramState:
    known: dict[str, Any] = asdict(one)
    known.pop("memory_mb")
    return ProgramState(
        **known, title=title_of(one.name), memory_bytes=memory,
        restart_effect=effect_of_restart(one.name),
    )  # fmt: skip


def _memory(gpu: Gpu, host: Host, parts: list[Component]) -> MemoryState:
    on_gpu = gpu.memory_total is not None and gpu.memory_free is not None
    return MemoryState(
        place="gpu" if on_gpu else "ram",
        total=gpu.memory_total if on_gpu and gpu.memory_total else host.memory_total,
        parts=[Part(**asdict(one)) for one in parts],
    )


def _call(session: Session, now: datetime) -> CallNow:
    return CallNow(
        id=session.id, persona=session.persona, caller_name=session.caller_name,
        origin=session.origin, started_at=session.created_at,
        duration_s=max(0, int((now - session.created_at).total_seconds())),
    )  # fmt: skip
