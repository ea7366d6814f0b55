"""What other programs take of the memory is neither the box's own nor free."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from appliance.catalogue import memory
from appliance.catalogue.fit import Place
from appliance.catalogue.memory import Component, others_memory
from appliance.errors import NotReady
from appliance.gpu import Gpu
from appliance.supervision import ProcessInfo
from tests.panel_app import box_settings

pytestmark = pytest.mark.unit

GIB = 1 << 30
OWN = [Component("llm_weights", "Language model", 3 * GIB, "vram"),
       Component("stt", "Ear", 2 * GIB, "ram")]  # fmt: skip


class Programs:
    """Stands for supervisord: the language model is this test's own process."""

    def processes(self) -> dict[str, ProcessInfo]:
        return {"llm": self.process("llm"), "stt": ProcessInfo("stt", "STOPPED", 0, 0, "")}

    def process(self, name: str) -> ProcessInfo:
        return ProcessInfo(name, "RUNNING", os.getpid(), 9, "")


class Nobody:
    """A supervisord that does not answer."""

    def processes(self) -> dict[str, ProcessInfo]:
        raise NotReady("supervisor_away", "It does not answer.")

    def process(self, name: str) -> ProcessInfo:
        raise NotReady("supervisor_away", f"{name} is not known.")


def _gpu(free: int | None) -> Gpu:
    return Gpu("present", memory_total=10 * GIB, memory_free=free)


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is told with these programs and this GPU; 16 GiB of memory, 9 of them free."""
    settings = box_settings(tmp_path / "data")
    monkeypatch.setattr(memory, "ram_total", lambda: 16 * GIB)
    monkeypatch.setattr(memory, "_ram_free", lambda: 9 * GIB)

    def ask(programs: object, gpu: Gpu) -> dict[Place, int]:
        monkeypatch.setattr(memory, "supervisor_of", lambda _settings: programs)
        return others_memory(settings, gpu, OWN)

    return ask


def test_the_boxs_own_is_taken_off(others: Any) -> None:
    found = others(Programs(), _gpu(free=6 * GIB))
    own = psutil.Process().memory_info()
    assert found["ram"] == pytest.approx(7 * GIB - (own.rss - own.shared), abs=GIB // 4)
    assert found["ram"] < 7 * GIB
    assert found["vram"] == GIB


def test_what_cannot_be_told_is_nothing(others: Any) -> None:
    assert others(Nobody(), _gpu(free=None)) == {"ram": 0, "vram": 0}
    assert others(Nobody(), _gpu(free=6 * GIB))["vram"] == 4 * GIB
    assert others(Programs(), _gpu(free=9 * GIB))["vram"] == 0
