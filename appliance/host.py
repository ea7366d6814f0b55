"""How busy the machine is: processors, memory, disk."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Host:
    """The machine as it is now; memory and disk in bytes."""

    cpu_percent: float
    """Of all processors together, since the reading before."""
    cores: int
    memory_total: int
    memory_free: int
    """What programs can still take without swapping."""
    disk_total: int
    disk_free: int
    """Where the data folder lies, for this account."""

    @property
    def memory_used(self) -> int:
        """What programs have taken."""
        return self.memory_total - self.memory_free


class HostReader:
    """Reads the machine, in any thread."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._lock = threading.Lock()
        self._busy, self._total = _processor_s()

    def read(self) -> Host:
        """The machine as it is now."""
        # psutil's own percentage is kept per thread, and readings come from several.
        with self._lock:
            busy, total = _processor_s()
            spent, passed = busy - self._busy, total - self._total
            self._busy, self._total = busy, total
        memory = psutil.virtual_memory()
        try:
            disk = shutil.disk_usage(self._data_dir)
            disk_total, disk_free = disk.total, disk.free
        except OSError:
            # The doctor says what is wrong with the folder.
            disk_total = disk_free = 0
        percent = 100 * spent / passed if passed > 0 else 0.0
        return Host(
            cpu_percent=round(min(100.0, max(0.0, percent)), 1),
            cores=psutil.cpu_count() or 1,
            memory_total=memory.total,
            memory_free=memory.available,
            disk_total=disk_total,
            disk_free=disk_free,
        )


def _processor_s() -> tuple[float, float]:
    """Seconds that the processors were busy, and all their seconds, since the machine started."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # A guest's time is in user's already.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - idle, total
