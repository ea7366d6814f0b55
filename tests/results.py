"""Figures that tests see, kept as JSON lines beside those of the benchmarks; none is judged here."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from appliance.settings import PROJECT_DIR

_SEEN = PROJECT_DIR / "bench" / "results" / "seen-in-tests.jsonl"


def machine() -> dict[str, Any]:
    """What the figures were seen on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return {
        "cpu": model, "cores": os.cpu_count(), "memory_mb": memory_mb,
        "kernel": platform.release(), "gpu": None,
    }  # fmt: skip


def note(what: str, **figures: Any) -> None:
    """Keep what a test saw."""
    _SEEN.parent.mkdir(parents=True, exist_ok=True)
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = {"what": what, "when": when, "machine": machine(), **figures}
    with _SEEN.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
