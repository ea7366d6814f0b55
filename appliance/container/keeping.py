"""Looks after a box that is held: says what changes, and whether the GPU is still there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.container.losses import Losses
from appliance.container.saying import Saying
from appliance.gpu import Gpu, GpuReader
from appliance.settings import Settings
from appliance.status import BoxStatus, box_status

EVERY_S = 5.0
# NVIDIA's library also fails for a moment, e.g. while its driver is asked by many.
_IN_A_ROW = 2
_GONE = ("absent", "lost", "refused", "driver_mismatch")


@dataclass
class Keeper:
    """Asked again and again; looks every few seconds.

    ``watches_gpu`` is false where the GPU was given up, or could not be used before the start: no model
    is on it, so a loss is no reason to end.
    """

    settings: Settings
    saying: Saying
    losses: Losses
    read: Callable[[], Gpu] = field(default_factory=lambda: GpuReader().read)
    clock: Callable[[], float] = time.monotonic
    watches_gpu: bool = True
    _due: float = 0.0
    _misses: int = 0

    def look(self) -> str:
        """Why the box has to end, or empty."""
        if self.clock() < self._due:
            return ""
        self.saying.changes(self._status())
        looks = self.watches_gpu and self.settings.gpu == "required"
        why = self._lost_gpu() if looks else ""
        self._due = self.clock() + EVERY_S
        return why

    def _status(self) -> BoxStatus:
        return asyncio.run(box_status(self.settings, memory=False))

    def _lost_gpu(self) -> str:
        gpu = self.read()
        if gpu.is_present:
            self._misses = 0
        elif gpu.state in _GONE:
            self._misses += 1
        if self._misses < _IN_A_ROW:
            return ""
        self.losses.add()
        return f"The GPU was lost while Earshot ran. {gpu.why} {gpu.hint}".strip()
