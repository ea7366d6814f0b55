"""How many calls a machine takes when its owner names no number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from appliance import cuda, seats
from appliance.catalogue import InstalledModel
from appliance.catalogue.reading import shape_of_installed
from appliance.catalogue.shape import Shape
from appliance.setting_groups import AgentSettings, LlmSettings
from tests.fakes_nvml import GIB, RTX_4090, FakeNvml, loaded
from tests.panel_app import box_settings

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("memory_mb", "expected"),
    [(1_000, 1), (2_700, 1), (3_400, 2), (64_000, seats.MOST)],
)
def test_seats_follow_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_mb: int, expected: int
) -> None:
    machine = SimpleNamespace(total=memory_mb * 2**20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
    monkeypatch.setattr(seats, "models_mb", lambda _settings: 1_000)
    monkeypatch.setattr(seats, "_CONTAINER_LIMIT", tmp_path / "absent")
    found = seats.seats_of(box_settings(tmp_path))
    assert found.count == expected
    assert "from memory" in found.why


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of 8 GB, on which all models compute on the processor."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=8_000 * 2**20))
    monkeypatch.setattr(seats, "_CONTAINER_LIMIT", tmp_path / "absent")
    monkeypatch.setattr(cuda, "has_llama", lambda: False)


def larger(times: int) -> Callable[[InstalledModel], Shape]:
    """The embedded models, but each token of a conversation takes so many times the memory."""

    def shape_of(model: InstalledModel) -> Shape:
        shape = shape_of_installed(model)
        return shape.model_copy(update={"kv_per_token": times * shape.kv_per_token})

    return shape_of


@pytest.mark.usefixtures("machine")
def test_the_embedded_models_need_what_they_are_known_to_need(tmp_path: Path) -> None:
    settings = box_settings(tmp_path)
    assert seats.models_mb(settings) == 700
    found = seats.seats_of(settings)
    assert found.count == seats.MOST
    assert "1,600 MB for programs and models, 500 MB for each call" in found.why


@pytest.mark.usefixtures("machine")
def test_a_call_takes_the_cache_of_a_whole_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 7,200 MB are to be used; a conversation of 8,192 tokens takes 180 MB, or ten times as much.
    settings = box_settings(tmp_path, llm=LlmSettings(context_tokens=8192))
    assert "590 MB for each call" in seats.seats_of(settings).why
    monkeypatch.setattr(seats, "shape_of_installed", larger(10))
    found = seats.seats_of(settings)
    assert "2,210 MB for each call" in found.why
    # One more is kept for other programs: 92 MB of weights, 14 MB or more of work space.
    assert 400 + 1_800 + 106 <= seats.models_mb(settings) < 400 + 1_800 + 200
    assert found.count == (7_200 - 900 - seats.models_mb(settings)) // 2_210 == 1


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("where", ["card", "elsewhere"])
def test_a_conversation_that_lies_elsewhere_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(seats, "shape_of_installed", larger(10))
    url = "http://127.0.0.1:9/v1" if where == "elsewhere" else ""
    monkeypatch.setattr(cuda, "has_llama", lambda: True)
    with loaded(FakeNvml()):
        found = seats.seats_of(box_settings(tmp_path, llm=LlmSettings(url=url)))
    assert "500 MB for each call" in found.why


@pytest.mark.usefixtures("machine")
def test_the_number_stays_when_the_models_have_filled_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seats, "shape_of_installed", larger(10))
    monkeypatch.setattr(cuda, "has_llama", lambda: True)
    found = set()
    for free in (7 * GIB, 450 << 20):
        memory = {"total": 8 * GIB, "used": 8 * GIB - free, "free": free}
        with loaded(FakeNvml({**RTX_4090, "nvmlDeviceGetMemoryInfo": memory})):
            found.add(seats.seats_of(box_settings(tmp_path)))
    assert [one.count for one in found] == [seats.MOST]


def test_the_owners_number_counts(tmp_path: Path) -> None:
    found = seats.seats_of(box_settings(tmp_path, agent=AgentSettings(seats=9)))
    assert found.count == 9
    assert "agent.seats" in found.why


@pytest.mark.parametrize(("limit", "expected_mb"), [("max\n", 4_000), (str(500 * 2**20), 500)])
def test_a_containers_limit_is_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, expected_mb: int
) -> None:
    (tmp_path / "memory.max").write_text(limit)
    monkeypatch.setattr(seats, "_CONTAINER_LIMIT", tmp_path / "memory.max")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=4_000 * 2**20))
    assert seats.memory_of_machine_mb() == expected_mb
