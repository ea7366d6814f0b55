"""The repair loop, step by step on a manual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.store import EndState
from services.panel.calls import Job
from tests.panel_app import Panel, box_settings, die, held, running_panel, wait

pytestmark = pytest.mark.unit


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """A panel whose loop steps when told to."""
    async with running_panel(box_settings(tmp_path / "data")) as panel:
        yield panel


async def test_a_healthy_call_is_left_alone(panel: Panel) -> None:
    session, _ = await held(panel)
    await wait(panel, 120)
    assert panel.state(session) == ("active", "")
    assert len(panel.rooms.dispatches) == 1
    assert panel.rooms.removed == []
    assert panel.store.sessions.get(session.id).joined_at is not None


async def test_a_reservation_that_nobody_uses_is_given_back(panel: Panel) -> None:
    session = await panel.open()
    await wait(panel, 29)
    assert panel.state(session) == ("active", "")
    await wait(panel, 2)
    assert panel.state(session) == ("failed", "never joined")
    assert panel.rooms.rooms == {}


async def test_a_caller_has_twenty_seconds_to_come_back(panel: Panel) -> None:
    session, _ = await held(panel)
    caller = f"caller-{session.id}"
    panel.rooms.leave(session.room_name, caller)
    await wait(panel, 19)
    panel.rooms.join(session.room_name, caller)
    await wait(panel, 5)
    assert panel.state(session) == ("active", "")
    panel.rooms.leave(session.room_name, caller)
    await wait(panel, 21)
    assert panel.state(session) == ("caller_left", "")
    assert session.room_name in panel.rooms.deleted


async def test_no_agent_is_sent_to_a_caller_who_is_away(panel: Panel) -> None:
    session, job = await held(panel)
    panel.rooms.leave(session.room_name, f"caller-{session.id}")
    await panel.watch.step()
    await die(panel, session, job)
    await wait(panel, 10)
    assert len(panel.rooms.dispatches) == 1
    panel.rooms.join(session.room_name, f"caller-{session.id}")
    await panel.watch.step()
    assert len(panel.rooms.dispatches) == 2


async def test_the_longest_call_ends(panel: Panel) -> None:
    session, _ = await held(panel)
    panel.clock.advance(7201)
    await panel.watch.step()
    assert panel.state(session)[0] == "timed_out"
    assert panel.rooms.rooms == {}


async def test_an_agent_that_does_not_come_is_sent_for_again(panel: Panel) -> None:
    session = await panel.open()
    panel.rooms.join(session.room_name, f"caller-{session.id}")
    await wait(panel, 4)
    assert len(panel.rooms.dispatches) == 1
    await wait(panel, 1.5)
    assert len(panel.rooms.dispatches) == 2
    assert panel.rooms.dispatches[1].metadata["resumed"] is False


async def test_a_restarting_worker_is_asked_every_second(panel: Panel) -> None:
    """A killed agent takes its worker with it: each dispatch is lost until a worker is back."""
    session, job = await held(panel)
    panel.rooms.workerless = True
    await die(panel, session, job)
    await wait(panel, 4)
    assert len(panel.rooms.dispatches) == 5
    panel.rooms.workerless = False
    await wait(panel, 4)
    assert len(panel.rooms.dispatches) == 5, "one that was taken has its five seconds"


async def test_a_first_dispatch_that_no_worker_took_is_made_again_soon(panel: Panel) -> None:
    panel.rooms.workerless = True
    session = await panel.open()
    panel.rooms.join(session.room_name, f"caller-{session.id}")
    await wait(panel, 0.5, step=0.25)
    assert len(panel.rooms.dispatches) == 1, "it may still be taken"
    assert panel.watch._pause_s() <= 0.25, "it is looked for more often than a healthy call"
    await wait(panel, 0.25, step=0.25)
    assert len(panel.rooms.dispatches) == 2
    assert panel.rooms.dispatches[1] == panel.rooms.dispatches[0]


async def test_a_call_without_any_agent_ends_and_says_why(panel: Panel) -> None:
    session = await panel.open()
    panel.rooms.join(session.room_name, f"caller-{session.id}")
    await wait(panel, 75)
    assert panel.state(session) == ("failed", "no agent came")
    assert panel.rooms.rooms == {}


async def test_a_dead_agent_is_replaced_at_once_and_knows_the_talk(panel: Panel) -> None:
    session, job = await held(panel)
    panel.store.turns.begin(session.id, "My name is Ann.")
    await die(panel, session, job)
    await panel.watch.step()
    assert panel.rooms.removed == [(session.room_name, "agent-1")]
    first, second = panel.rooms.dispatches
    assert second.room == session.room_name
    assert second.metadata == {**first.metadata, "resumed": True}
    await panel.watch.step()
    assert len(panel.rooms.dispatches) == 2


async def test_agents_that_keep_dying_end_the_call(panel: Panel) -> None:
    """Each comes later than the one before; the fifth death within a minute is the last."""
    session, job = await held(panel)
    waited: list[float] = []
    for number in range(2, 7):
        await die(panel, session, job)
        if panel.state(session)[0] != "active":
            break
        before, since = len(panel.rooms.dispatches), panel.clock.now
        await panel.watch.step()
        while len(panel.rooms.dispatches) == before:
            await wait(panel, 0.5)
        waited.append(panel.clock.now - since)
        job = Job(number, f"agent-{number}")
        panel.rooms.join(session.room_name, job.identity)
        await panel.desk.job_began(session.id, job)
        await panel.watch.step()
    assert waited == [0.0, 0.5, 1.0, 2.0]
    assert panel.state(session) == ("failed", "the agent stopped several times in a row")
    assert panel.rooms.rooms == {}


async def test_deaths_that_are_far_apart_do_not_add_up(panel: Panel) -> None:
    session, job = await held(panel)
    for number in range(2, 10):
        await die(panel, session, job)
        await panel.watch.step()
        job = Job(number, f"agent-{number}")
        panel.rooms.join(session.room_name, job.identity)
        await panel.desk.job_began(session.id, job)
        await wait(panel, 61, step=1)
    assert panel.state(session) == ("active", "")


async def test_rooms_are_made_again_after_the_media_server_was_restarted(panel: Panel) -> None:
    session, _ = await held(panel)
    panel.rooms.down = True
    await wait(panel, 3)
    panel.rooms.down = False
    panel.rooms.restart()
    await panel.watch.step()
    assert panel.rooms.rooms == {session.room_name: set()}
    assert len(panel.rooms.dispatches) == 1, "the agent comes back by itself"
    await wait(panel, 2)
    panel.rooms.join(session.room_name, f"caller-{session.id}")
    panel.rooms.join(session.room_name, "agent-1")
    await wait(panel, 30)
    assert panel.state(session) == ("active", "")
    assert len(panel.rooms.dispatches) == 1


async def test_an_agent_that_stays_away_after_the_restart_is_replaced(panel: Panel) -> None:
    session, old = await held(panel)
    panel.rooms.restart()
    await panel.watch.step()
    panel.rooms.join(session.room_name, f"caller-{session.id}")
    await wait(panel, 5.5)
    assert len(panel.rooms.dispatches) == 2
    new = Job(2, "agent-2")
    await panel.desk.job_began(session.id, new)
    panel.rooms.join(session.room_name, "agent-2")
    assert old.released.is_set()
    panel.rooms.join(session.room_name, "agent-1")
    await panel.watch.step()
    assert panel.rooms.rooms[session.room_name] == {f"caller-{session.id}", "agent-2"}


async def test_a_room_is_not_made_again_for_a_call_that_ended(panel: Panel) -> None:
    session, job = await held(panel)
    panel.store.sessions.end(session.id, EndState.COMPLETED)
    panel.rooms.restart()
    job.gone.set()
    await wait(panel, 6)
    assert panel.rooms.rooms == {}
    assert panel.rooms.created == [session.room_name]


async def test_a_call_the_agent_ended_has_its_last_words(panel: Panel) -> None:
    session, _ = await held(panel)
    panel.store.sessions.end(session.id, EndState.COMPLETED)
    await wait(panel, 4)
    assert panel.rooms.deleted == []
    await wait(panel, 2)
    assert panel.rooms.deleted == [session.room_name]
    assert len(panel.desk.book) == 0


async def test_a_second_agent_beside_a_living_one_is_put_out(panel: Panel) -> None:
    session, _ = await held(panel)
    panel.rooms.join(session.room_name, "agent-2")
    await panel.watch.step()
    assert panel.rooms.removed == [(session.room_name, "agent-2")]
    assert panel.rooms.rooms[session.room_name] == {f"caller-{session.id}", "agent-1"}


async def test_leftover_rooms_of_ended_calls_are_closed_and_others_are_not(panel: Panel) -> None:
    session, _ = await held(panel)
    panel.rooms.rooms["call-of-another-box"] = set()
    panel.rooms.rooms["someone-elses"] = set()
    await wait(panel, 2)
    assert set(panel.rooms.rooms) == {session.room_name, "call-of-another-box", "someone-elses"}
