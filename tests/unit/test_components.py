"""What the memory is used for: the parts add up, and what a part is known from is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import cuda
from appliance.catalogue.fit import Need
from appliance.catalogue.memory import place_for
from appliance.components import Component, Deltas, ram_components, vram_components, vram_needs
from appliance.gpu import Gpu
from appliance.host import HostReader
from appliance.setting_groups import LlmSettings
from appliance.settings import Settings

pytestmark = pytest.mark.unit

GIB = 1 << 30
MIB = 1 << 20
NEEDS = {
    "llm": Need("vram", 5 * GIB, kv=1 * GIB, work=GIB // 2),
    "stt": Need("vram", GIB, work=GIB),
}


def sizes(parts: list[Component]) -> dict[str, int]:
    return {part.name: part.bytes for part in parts}


def test_the_machines_memory_by_program() -> None:
    used_by = {"llm": 400 * MIB, "stt": 500 * MIB, "livekit": 60 * MIB, "front": 40 * MIB}
    parts = ram_components(used_by, 8 * GIB, 6 * GIB)
    assert sizes(parts) == {
        "llm": 400 * MIB,
        "stt": 500 * MIB,
        "box": 100 * MIB,
        "other": 2 * GIB - 1000 * MIB,
        "free": 6 * GIB,
    }
    assert all(part.measured for part in parts)


def test_an_unmeasured_gpu_says_estimated() -> None:
    parts = vram_components(NEEDS, {}, 24 * GIB, 14 * GIB)
    assert sizes(parts) == {
        "llm_weights": 5 * GIB,
        "llm_kv": GIB,
        "llm_work": GIB // 2,
        "stt": 2 * GIB,
        "other": 3 * GIB // 2,
        "free": 14 * GIB,
    }
    assert [part.name for part in parts if part.measured] == ["free"]


def test_what_was_seen_at_a_start_replaces_the_estimate() -> None:
    parts = vram_components(NEEDS, {"stt": 3 * GIB, "llm": 7 * GIB}, 24 * GIB, 10 * GIB)
    known = {part.name: part for part in parts}
    assert (known["stt"].bytes, known["stt"].measured) == (3 * GIB, True)
    assert (known["llm_work"].bytes, known["llm_work"].measured) == (GIB, True)
    assert sizes(parts)["other"] == 4 * GIB


@pytest.mark.parametrize("free", [0, 1, 20 * GIB, 24 * GIB])
@pytest.mark.parametrize("measured", [{}, {"llm": 1 * GIB}, {"stt": 40 * GIB}])
def test_the_parts_always_add_up(free: int, measured: dict[str, int]) -> None:
    parts = vram_components(NEEDS, measured, 24 * GIB, free)
    assert sum(part.bytes for part in parts) == 24 * GIB
    assert all(part.bytes >= 0 for part in parts)


def test_a_start_alone_is_measured() -> None:
    deltas = Deltas()
    deltas.see({"llm": "ready", "stt": "ready"}, 9 * GIB)
    deltas.see({"llm": "ready", "stt": "stopped"}, 7 * GIB)
    deltas.see({"llm": "ready", "stt": "loading"}, 8 * GIB)
    deltas.see({"llm": "ready", "stt": "ready"}, 10 * GIB)
    assert deltas.measured == {"stt": 3 * GIB}


@pytest.mark.parametrize(
    "states",
    [
        [("stopped", "stopped"), ("loading", "loading"), ("ready", "loading"), ("ready", "ready")],
        [("ready", "stopped"), ("loading", "loading"), ("ready", "ready")],
        [("ready", "loading"), ("ready", "ready")],
    ],
)
def test_two_starts_at_once_are_not_measured(states: list[tuple[str, str]]) -> None:
    deltas = Deltas()
    for number, (llm, stt) in enumerate(states):
        deltas.see({"llm": llm, "stt": stt}, number * GIB)
    assert deltas.measured == {}


@pytest.fixture
def wheel_for_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp as it is where set-up compiled it for a card."""
    monkeypatch.setattr(cuda, "has_llama", lambda: True)


@pytest.mark.usefixtures("wheel_for_cards")
def test_the_embedded_models_need_is_read_from_their_files(tmp_path: Path) -> None:
    needs = vram_needs(Settings(data_dir=tmp_path))
    assert set(needs) == {"llm", "stt"}
    assert 50 * MIB < needs["llm"].weights < 500 * MIB
    assert needs["llm"].kv > 0


def test_a_llama_that_was_compiled_without_cuda_is_not_counted_on_the_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "has_llama", lambda: False)
    settings = Settings(data_dir=tmp_path)
    assert set(vram_needs(settings)) == {"stt"}
    gpu = Gpu("present")
    assert [place_for(settings, task, gpu) for task in ("llm", "stt")] == ["ram", "vram"]
    monkeypatch.setattr(cuda, "has_llama", lambda: True)
    assert place_for(settings, "llm", gpu) == "vram"


@pytest.mark.usefixtures("wheel_for_cards")
def test_what_does_not_lie_on_the_gpu_is_not_counted_there(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, llm=LlmSettings(gpu_layers=0))
    assert set(vram_needs(settings)) == {"stt"}
    assert vram_needs(Settings(data_dir=tmp_path, llm=LlmSettings(model="nowhere"))).keys() == {
        "stt"
    }


def test_the_machine_is_read(tmp_path: Path) -> None:
    reader = HostReader(tmp_path)
    host = reader.read()
    assert 0 <= host.cpu_percent <= 100
    assert host.cores >= 1
    assert 0 < host.memory_free <= host.memory_total
    assert host.memory_used + host.memory_free == host.memory_total
    assert 0 < host.disk_free <= host.disk_total
    assert HostReader(tmp_path / "nowhere").read().disk_total == 0
