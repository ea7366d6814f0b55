"""Looks at the machine every two seconds, keeps an hour of it, and tells the pages."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from appliance import logs
from appliance.catalogue.fit import Need
from appliance.components import (
    GPU_PROGRAMS,
    Component,
    Deltas,
    ram_components,
    vram_components,
    vram_needs,
)
from appliance.errors import ApplianceError
from appliance.gpu import Gpu, reader_of
from appliance.host import Host, HostReader
from appliance.settings import Settings
from appliance.status import program_memory
from services.panel.events import Bus
from services.panel.readiness import Readiness

EVERY_S = 2.0
KEPT = 1800
"""Samples: one hour."""
_MEMORY_EVERY_S = 10.0
_NEEDS_EVERY_S = 60.0

log = logs.get(__name__)


@dataclass(frozen=True)
class Sample:
    """One moment. ``at`` is in seconds since 1970, memory in bytes; None: there is no GPU to ask."""

    at: float
    cpu_percent: float
    memory_used: int
    gpu_percent: int | None
    gpu_memory_used: int | None
    gpu_temperature_c: int | None
    calls: int


@dataclass
class Senses:
    """What the sampler asks; a test puts its own in."""

    gpu: Callable[[], Gpu]
    host: Callable[[], Host]
    memory: Callable[[], Mapping[str, int]]
    """Bytes by program."""
    needs: Callable[[], Mapping[str, Need]]
    clock: Callable[[], float] = time.time


def senses_of(settings: Settings) -> Senses:
    """The real ones."""
    return Senses(
        reader_of(settings).read, HostReader(settings.data_dir).read,
        lambda: program_memory(settings), lambda: vram_needs(settings),
    )  # fmt: skip


@dataclass
class _Kept:
    """A dear answer, asked for again when it is old."""

    every_s: float
    value: Mapping[str, Any] = field(default_factory=dict)
    at: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Sampler:
    """The machine's figures.

    Attributes:
        gpu, host: the latest reading; None before the first.
        history: the last hour, oldest first.
    """

    def __init__(
        self, senses: Senses, readiness: Readiness, bus: Bus, calls: Callable[[], int]
    ) -> None:
        self.gpu: Gpu | None = None
        self.host: Host | None = None
        self.history: deque[Sample] = deque(maxlen=KEPT)
        self._senses = senses
        self._readiness = readiness
        self._bus = bus
        self._calls = calls
        self._deltas = Deltas()
        self._memory = _Kept(_MEMORY_EVERY_S)
        self._needs = _Kept(_NEEDS_EVERY_S)

    async def run(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                await self.step()
            except (ApplianceError, OSError) as error:
                # One missed reading is a gap in a curve; the next round looks again.
                log.warning("sample_missed", error=type(error).__name__)
            except Exception:
                # A mistake of ours in one round must not leave the figures standing still.
                log.exception("sample_broken")
            # A machine that slept is not sampled for the time it slept.
            due = max(due + EVERY_S, loop.time())
            await asyncio.sleep(due - loop.time())

    async def step(self) -> None:
        """Look once, remember it, tell whoever listens."""
        gpu, host = await asyncio.to_thread(lambda: (self._senses.gpu(), self._senses.host()))
        self.gpu, self.host = gpu, host
        sample = Sample(
            round(self._senses.clock(), 1), host.cpu_percent, host.memory_used,
            gpu.load_percent, gpu.memory_used, gpu.temperature_c, self._calls(),
        )  # fmt: skip
        self.history.append(sample)
        if gpu.is_present:
            # Reading a model's file can take a second, which no page is to wait for.
            await self._fresh(self._needs, self._senses.needs)
        listened = self._bus.is_heard("box")
        if gpu.is_present or listened:
            status = await self._readiness.look()
            states = {one.name: one.state for one in status.programs}
            known: dict[str, str] = {name: states[name] for name in GPU_PROGRAMS if name in states}
            if gpu.memory_used is not None:
                self._deltas.see(known, gpu.memory_used)
            if listened:
                self._bus.publish("box", {"ready": status.ready, "sample": asdict(sample)})

    async def look(self) -> tuple[Gpu, Host]:
        """The latest reading, made now if there is none yet."""
        if self.gpu is None or self.host is None:
            await self.step()
        if self.gpu is None or self.host is None:
            raise RuntimeError("a step leaves a reading")
        return self.gpu, self.host

    async def used_by(self) -> Mapping[str, int]:
        """Bytes by program, at most ten seconds old: asking costs the kernel a walk of all pages."""
        return await self._fresh(self._memory, self._senses.memory)

    async def components(self) -> list[Component]:
        """What the GPU's memory is used for, or the machine's where there is no GPU."""
        gpu, host = await self.look()
        if gpu.memory_total is None or gpu.memory_free is None:
            used = await self.used_by()
            return ram_components(used, host.memory_total, host.memory_free)
        needs = self._needs.value
        status = await self._readiness.look()
        loaded = {one.name for one in status.programs if one.ready}
        return vram_components(
            {name: need for name, need in needs.items() if name in loaded},
            self._deltas.measured, gpu.memory_total, gpu.memory_free,
        )  # fmt: skip

    def columns(self) -> dict[str, list[float | None]]:
        """The last hour, a list per figure."""
        names = [one.name for one in fields(Sample)]
        return {name: [getattr(sample, name) for sample in self.history] for name in names}

    async def _fresh(self, kept: _Kept, ask: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        async with kept.lock:
            if not kept.at or time.monotonic() - kept.at > kept.every_s:
                kept.value = await asyncio.to_thread(ask)
                kept.at = time.monotonic()
            return kept.value
