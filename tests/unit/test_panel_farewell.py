"""The box is stopped while people talk: they are told, their calls end, and nobody new comes in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.store import Session
from services.panel import farewell
from tests.panel_app import SESSIONS, Panel, box_settings, held, running_panel
from tests.waiting import eventually

pytestmark = pytest.mark.unit

ROUTE = "/internal/v1/farewell"


@pytest.fixture
async def panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Panel]:
    monkeypatch.setattr(farewell, "SPOKEN_S", 0.0)
    async with running_panel(box_settings(tmp_path / "data")) as panel:
        yield panel


async def left(panel: Panel) -> int:
    answer = await panel.http.post(ROUTE)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["open"])


async def none_left(panel: Panel) -> bool:
    return await left(panel) == 0


async def test_every_caller_is_told_by_the_agent_or_by_the_page(panel: Panel) -> None:
    talking, job = await held(panel)
    job.gone.set()
    alone = await panel.open()
    panel.rooms.join(alone.room_name, f"caller-{alone.id}")
    assert await left(panel) == 2
    await eventually(lambda: none_left(panel))
    assert panel.rooms.said == [(talking.room_name, "agent-1", "box_stops")]
    assert panel.rooms.notified == [(alone.room_name, "box_stops")]
    for session in (talking, alone):
        assert panel.state(session) == ("completed", "the box was stopped")

    async def rooms_closed() -> bool:
        return {talking.room_name, alone.room_name} <= set(panel.rooms.deleted)

    # An end is written before its room is taken away.
    await eventually(rooms_closed)


async def test_from_then_on_no_call_begins(panel: Panel) -> None:
    assert await left(panel) == 0
    answer = await panel.http.post(SESSIONS, json={})
    assert answer.status_code == 503
    assert "being stopped" in answer.text
    home = await panel.http.get("/api/v1/box")
    assert home.json()["why"] == ["The box is being stopped."]


async def test_a_media_server_that_is_gone_holds_no_stop_up(panel: Panel) -> None:
    await held(panel)
    panel.rooms.down = True
    await left(panel)
    await eventually(lambda: none_left(panel))


async def test_a_call_that_cannot_be_told_for_an_unforeseen_reason_still_ends(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, job = await held(panel)
    job.gone.set()

    async def unforeseen(*_: Any) -> None:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(panel.desk, "tell", unforeseen)
    await left(panel)
    await eventually(lambda: none_left(panel))
    assert panel.state(session) == ("completed", "the box was stopped")


async def test_an_end_that_breaks_is_tried_again_and_keeps_no_other_from_its_own(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = [await panel.open() for _ in range(2)]
    hang_up, tries = panel.desk.hang_up, []

    async def breaks_once(session_id: str, reason: str) -> None:
        tries.append(session_id)
        if len(tries) == 1:
            raise RuntimeError("nobody thought of this")
        await hang_up(session_id, reason)

    monkeypatch.setattr(panel.desk, "hang_up", breaks_once)
    await left(panel)
    await eventually(lambda: none_left(panel))
    for session in sessions:
        assert panel.state(session) == ("completed", "the box was stopped")


async def test_a_farewell_that_breaks_is_begun_again(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await panel.open()
    whole, looks = farewell.Farewell._open, []

    async def breaks_once(self: farewell.Farewell) -> list[Session]:
        looks.append(self)
        # The first look is for the answer, the second by the farewell itself.
        if len(looks) == 2:
            raise RuntimeError("nobody thought of this")
        return await whole(self)

    told: list[BaseException] = []
    monkeypatch.setattr(farewell.log, "error", lambda _event, exc_info: told.append(exc_info))
    monkeypatch.setattr(farewell.Farewell, "_open", breaks_once)
    await left(panel)
    await eventually(lambda: none_left(panel))
    assert panel.state(session) == ("completed", "the box was stopped")
    assert [str(error) for error in told] == ["nobody thought of this"]


async def test_nobody_but_the_command_on_the_box_may_ask(panel: Panel) -> None:
    session = await panel.open()
    answer = await panel.http.post(ROUTE, headers={"Authorization": "Bearer nobody"})
    assert answer.status_code == 401
    assert panel.store.sessions.get(session.id).is_open
