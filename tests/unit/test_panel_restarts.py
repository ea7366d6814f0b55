"""Calls over a stop and a start of the panel, or of the whole box."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.panel.calls import Job
from tests.panel_app import box_settings, die, held, running_panel, until, wait

pytestmark = pytest.mark.unit


async def test_a_restarted_panel_takes_its_calls_from_the_store(tmp_path: Path) -> None:
    settings = box_settings(tmp_path / "data")
    async with running_panel(settings) as before:
        session, _ = await held(before)
        people = {room: set(names) for room, names in before.rooms.rooms.items()}
    async with running_panel(settings) as panel:
        panel.rooms.rooms = people
        await wait(panel, 2.5)
        assert panel.rooms.removed == [], "the job has three seconds to come back"
        await panel.desk.job_began(session.id, Job(1, "agent-1"))
        await wait(panel, 10)
        assert panel.rooms.removed == []
        assert panel.rooms.dispatches == []
        assert panel.state(session) == ("active", "")


async def test_an_agent_that_died_with_the_panel_is_replaced(tmp_path: Path) -> None:
    settings = box_settings(tmp_path / "data")
    async with running_panel(settings) as before:
        session, _ = await held(before)
        before.store.turns.begin(session.id, "Hello.")
        people = {room: set(names) for room, names in before.rooms.rooms.items()}
    async with running_panel(settings) as panel:
        panel.rooms.rooms = people
        await wait(panel, 4.5)
        assert panel.rooms.removed == [(session.room_name, "agent-1")]
        assert [sent.metadata["resumed"] for sent in panel.rooms.dispatches] == [True]


async def test_a_box_that_is_stopped_in_a_call_stops_at_once_and_takes_the_call_up_again(
    tmp_path: Path,
) -> None:
    """The agent's stream breaks off while LiveKit hangs; then nothing of it is there any more."""
    settings = box_settings(tmp_path / "data")
    async with running_panel(settings, watching=True) as before:
        session, job = await held(before)
        before.store.turns.begin(session.id, "My name is Ann.")
        before.rooms.hangs = True
        await die(before, session, job)
        await until(lambda: before.rooms.hanging)
    async with running_panel(settings) as panel:
        assert panel.state(session) == ("active", "")
        await panel.watch.step()
        assert panel.rooms.rooms == {session.room_name: set()}
        await wait(panel, 8)
        assert panel.rooms.dispatches == [], "nobody is there to talk to"
        panel.rooms.join(session.room_name, f"caller-{session.id}")
        await panel.watch.step()
        assert [sent.metadata["resumed"] for sent in panel.rooms.dispatches] == [True]


async def test_a_call_whose_caller_does_not_come_back_after_a_stop_gives_its_seat_back(
    tmp_path: Path,
) -> None:
    settings = box_settings(tmp_path / "data")
    async with running_panel(settings) as before:
        session, _ = await held(before)
    async with running_panel(settings) as panel:
        await wait(panel, 21)
        assert panel.state(session) == ("caller_left", "")
        assert panel.rooms.rooms == {}
        assert panel.rooms.dispatches == []


async def test_a_call_of_the_day_before_is_ended_without_a_room(tmp_path: Path) -> None:
    """The box was started again the day after."""
    settings = box_settings(tmp_path / "data")
    async with running_panel(settings) as before:
        session, _ = await held(before)
    async with running_panel(settings) as panel:
        panel.clock.advance(-100_000)
        panel.desk.book.add(panel.store.sessions.get(session.id))
        panel.clock.advance(100_000)
        await panel.watch.step()
        assert panel.state(session) == ("timed_out", "the longest call is over")
        assert panel.rooms.created == []
