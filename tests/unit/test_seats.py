"""How many calls a machine takes when its owner names no number."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from appliance import seats
from appliance.setting_groups import AgentSettings
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
