"""How hard the machine worked while it was measured: processors, memory, GPU."""

from __future__ import annotations

import asyncio
import itertools
import os
import platform
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.gpu import Gpu, reader_of
from appliance.host import Host, HostReader
from appliance.settings import Settings

_EVERY_S = 0.5
# The kernel adds up a program's share of memory page by page.
_LOOKS_PER_MEMORY = 5
_MB = 1e6


@dataclass(frozen=True)
class Reading:
    """One look. GPU figures are None where there is no GPU."""

    cpu_percent: float
    memory_used: int
    gpu_percent: int | None
    gpu_memory_used: int | None


@dataclass
class Watch:
    """Reads the machine twice a second while one side is measured.

    Attributes:
        host, gpu: how the machine is asked.
    """

    host: Callable[[], Host]
    gpu: Callable[[], Gpu]
    readings: dict[str, list[Reading]] = field(default_factory=lambda: defaultdict(list))
    programs: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    totals: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @classmethod
    def of(cls, settings: Settings) -> Watch:
        """The real machine."""
        return cls(HostReader(settings.data_dir).read, reader_of(settings).read)

    @asynccontextmanager
    async def during(
        self, side: str, memory: Callable[[], Mapping[str, int]]
    ) -> AsyncIterator[None]:
        """Watch as long as the block runs; ``memory`` says, in bytes by program, what is in use.

        Memory is asked for at every fifth look and at the end.
        """
        task = asyncio.create_task(self._look(side, memory))
        try:
            yield
            self._keep_most(side, await asyncio.to_thread(memory))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def figures(self, side: str) -> dict[str, Any]:
        """CPU in percent of all processors, memory in MB at its highest, and the GPU's, if any."""
        readings = self.readings[side]
        cpu = [one.cpu_percent for one in readings]
        used = [one.gpu_memory_used for one in readings if one.gpu_memory_used is not None]
        load = [one.gpu_percent for one in readings if one.gpu_percent is not None]
        programs = {name: round(size / _MB) for name, size in self.programs[side].items()}
        return {
            "cpu_percent": {"mean": _mean(cpu), "max": max(cpu)} if cpu else None,
            "memory_mb": {"programs": programs, "total": round(self.totals[side] / _MB)},
            "gpu_percent": {"mean": _mean(load), "max": max(load)} if load else None,
            "gpu_memory_mb": round(max(used) / _MB) if used else None,
        }

    def _keep_most(self, side: str, used: Mapping[str, int]) -> None:
        # Each program is at its highest at another moment.
        self.totals[side] = max(self.totals[side], sum(used.values()))
        most = self.programs[side]
        for name, size in used.items():
            most[name] = max(size, most.get(name, 0))

    async def _look(self, side: str, memory: Callable[[], Mapping[str, int]]) -> None:
        # A share of the processors counts from the reading before.
        await asyncio.to_thread(self.host)
        for look in itertools.count(1):
            await asyncio.sleep(_EVERY_S)
            if look % _LOOKS_PER_MEMORY == 0:
                self._keep_most(side, await asyncio.to_thread(memory))
            host, gpu = await asyncio.to_thread(lambda: (self.host(), self.gpu()))
            self.readings[side].append(
                Reading(host.cpu_percent, host.memory_used, gpu.load_percent, gpu.memory_used)
            )


def _mean(values: list[float] | list[int]) -> float:
    return round(sum(values) / len(values), 1)


def machine(gpu: Gpu | None = None) -> dict[str, Any]:
    """Processor, cores, memory in MB, kernel, GPU, and how busy the machine was at this moment."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
        "gpu": {"name": gpu.name, "driver": gpu.driver} if gpu and gpu.is_present else None,
    }
