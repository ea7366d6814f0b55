"""Figures that tests see, kept as JSON lines beside those of the benchmarks; none is judged here."""

from __future__ import annotations

import json
import time
from typing import Any

from appliance.settings import PROJECT_DIR
from bench.machine import machine

_SEEN = PROJECT_DIR / "bench" / "results" / "seen-in-tests.jsonl"


def note(what: str, **figures: Any) -> None:
    """Keep what a test saw."""
    _SEEN.parent.mkdir(parents=True, exist_ok=True)
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = {"what": what, "when": when, "machine": machine(), **figures}
    with _SEEN.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
