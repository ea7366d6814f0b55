"""The card that GPU figures are from: its name, its memory, and what loading something took of it."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml

MIB = 1 << 20
_PROBE_S = 30.0


class Card:
    """The first card, or none: then every figure of it is None."""

    def __init__(self) -> None:
        try:
            pynvml.nvmlInit()
            self._handle: Any = pynvml.nvmlDeviceGetHandleByIndex(0)
        except pynvml.NVMLError:
            self._handle = None

    def describe(self) -> dict[str, Any] | None:
        """Name, driver, capability and memory in MiB."""
        if self._handle is None:
            return None
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(self._handle)
        return {
            "name": str(pynvml.nvmlDeviceGetName(self._handle)),
            "driver": str(pynvml.nvmlSystemGetDriverVersion()),
            "capability": f"{major}.{minor}",
            "memory_mib": int(pynvml.nvmlDeviceGetMemoryInfo(self._handle).total) // MIB,
            "used_before_mib": self.used_mib(),
        }

    def used_mib(self) -> int | None:
        """Memory in use by everybody."""
        if self._handle is None:
            return None
        return int(pynvml.nvmlDeviceGetMemoryInfo(self._handle).used) // MIB

    def taken_since(self, before: int | None) -> int | None:
        """MiB more than before."""
        now = self.used_mib()
        return None if now is None or before is None else now - before


def median_ms(call: Callable[[], object], *, times: int) -> float:
    """A call's median time after one that is not counted; fewer calls where it is slow."""
    began = time.perf_counter()
    call()
    until = began + _PROBE_S
    seen: list[float] = []
    while len(seen) < times and (not seen or time.perf_counter() < until):
        started = time.perf_counter()
        call()
        seen.append((time.perf_counter() - started) * 1000)
    return round(statistics.median(seen), 3)


def keep(folder: Path, what: str, figures: dict[str, Any]) -> Path:
    """Write the figures under the card's name; returns the file."""
    card = figures.get("card")
    name = re.sub(r"[^A-Za-z0-9]+", "-", card["name"]).strip("-").lower() if card else "no-card"
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"gpu-{what}-{name}-{stamp}.json"
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return path
