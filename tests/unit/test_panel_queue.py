"""The line of callers: nobody jumps it, nobody blocks it, and a seat never has two people."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import NotFound
from appliance.setting_groups import AgentSettings
from appliance.store import EndState
from services.panel import admission
from services.panel.admission import MOST_OF_ONE, Queue
from services.panel.watch import NEVER_JOINED_S
from tests.fakes_livekit import ManualClock
from tests.panel_app import SESSIONS, Panel, box_settings, running_panel, stranger, wait
from tests.waiting import eventually

pytestmark = pytest.mark.unit


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """A panel with one seat."""
    settings = box_settings(tmp_path / "data", agent=AgentSettings(seats=1))
    async with running_panel(settings) as panel:
        yield panel


async def queue_up(panel: Panel) -> str:
    """Ask a full box for a call; the ticket that it gives."""
    answer = await panel.http.post(SESSIONS, json={"queue": True})
    assert answer.status_code == 503, answer.text
    ticket: str = answer.json()["queue"]["ticket"]
    return ticket


async def look(panel: Panel, ticket: str) -> dict[str, Any]:
    """What a waiting page is told."""
    answer = await panel.http.post(f"{SESSIONS}/queue/{ticket}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_a_full_box_says_how_many_are_before_you(panel: Panel) -> None:
    await panel.open()
    for before in range(3):
        answer = await panel.http.post(SESSIONS, json={"queue": True})
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        body = answer.json()
        assert (body["error"]["code"], body["error"]["before_you"]) == ("box_full", before)
        assert body["queue"]["before_you"] == before
        assert body["queue"]["poll_s"] == admission.POLL_S


async def test_who_does_not_ask_for_a_place_gets_none(panel: Panel) -> None:
    await panel.open()
    answer = await panel.http.post(SESSIONS)
    assert (answer.status_code, answer.json()["error"]["before_you"]) == (503, 0)
    assert "queue" not in answer.json()
    assert await panel.desk.queue.line() == {"seats": 1, "open": 1, "held": 0, "waiting": 0}


async def test_the_first_in_line_is_called_and_nobody_jumps_it(panel: Panel) -> None:
    session = await panel.open()
    first, second = await queue_up(panel), await queue_up(panel)
    assert (await look(panel, second))["before_you"] == 1
    await panel.http.post(f"{SESSIONS}/{session.id}/end")
    assert (await panel.http.post(SESSIONS)).status_code == 503, "a newcomer jumped the line"
    early = await panel.http.post(SESSIONS, json={"ticket": second})
    assert (early.status_code, early.json()["error"]["before_you"]) == (503, 0)
    assert await look(panel, first) == {
        "before_you": 0, "your_turn": True, "poll_s": 2, "hold_s": 30
    }  # fmt: skip
    assert (await look(panel, second))["your_turn"] is False
    assert (await panel.http.post(SESSIONS, json={"ticket": first})).status_code == 201
    again = await panel.http.post(SESSIONS, json={"ticket": first})
    assert (again.status_code, again.json()["error"]["code"]) == (404, "ticket_unknown")


async def test_the_line_is_served_to_its_end(panel: Panel) -> None:
    session = await panel.open()
    tickets = [await queue_up(panel) for _ in range(3)]
    for number, ticket in enumerate(tickets):
        await panel.http.post(f"{SESSIONS}/{session.id}/end")
        assert (await look(panel, ticket))["your_turn"] is True, number
        answer = await panel.http.post(SESSIONS, json={"ticket": ticket})
        session = panel.store.sessions.get(answer.json()["session_id"])
    await panel.http.post(f"{SESSIONS}/{session.id}/end")
    assert (await panel.http.post(SESSIONS)).status_code == 201


async def test_a_seat_that_an_agent_gave_back_is_free_for_the_first_who_asks(panel: Panel) -> None:
    session = await panel.open()
    assert (await panel.http.post(SESSIONS)).status_code == 503
    panel.store.sessions.end(session.id, EndState.CALLER_LEFT)
    panel.clock.advance(1)
    assert (await panel.http.post(SESSIONS)).status_code == 201


async def test_a_page_that_was_closed_loses_its_place(panel: Panel) -> None:
    session = await panel.open()
    gone, patient = await queue_up(panel), await queue_up(panel)
    told: dict[str, Any] = {}
    for _ in range(4):
        panel.clock.advance(admission.UNPOLLED_S / 3)
        told = await look(panel, patient)
    assert told["before_you"] == 0
    assert (await panel.http.post(f"{SESSIONS}/queue/{gone}")).status_code == 404
    await panel.http.post(f"{SESSIONS}/{session.id}/end")
    assert (await look(panel, patient))["your_turn"] is True


async def test_a_seat_that_is_not_taken_goes_to_the_next(panel: Panel) -> None:
    session = await panel.open()
    slow, next_one = await queue_up(panel), await queue_up(panel)
    await panel.http.post(f"{SESSIONS}/{session.id}/end")
    assert (await look(panel, slow))["your_turn"] is True
    told: dict[str, Any] = {}
    for _ in range(4):
        panel.clock.advance(admission.HOLD_S / 3)
        await panel.http.post(f"{SESSIONS}/queue/{slow}")
        told = await look(panel, next_one)
    assert told["your_turn"] is True
    late = await panel.http.post(SESSIONS, json={"ticket": slow})
    assert (late.status_code, late.json()["error"]["code"]) == (404, "ticket_unknown")
    assert (await panel.http.post(SESSIONS, json={"ticket": next_one})).status_code == 201


async def test_leaving_the_line_lets_the_next_one_up(panel: Panel) -> None:
    await panel.open()
    first, second = await queue_up(panel), await queue_up(panel)
    for _ in range(2):
        assert (await panel.http.delete(f"{SESSIONS}/queue/{first}")).status_code == 204
    assert (await look(panel, second))["before_you"] == 0


async def test_the_line_is_not_endless(panel: Panel) -> None:
    await panel.open()
    for _ in range(admission.MOST_WAITING):
        await queue_up(panel)
    answer = await panel.http.post(SESSIONS, json={"queue": True})
    assert answer.status_code == 503
    assert answer.json()["error"]["before_you"] == admission.MOST_WAITING
    assert "queue" not in answer.json()


async def test_a_link_has_no_more_places_than_uses_left(panel: Panel) -> None:
    link = await panel.http.post("/api/v1/links", json={"name": "One", "uses": 2})
    guest = {"X-Earshot-Guest": link.json()["url"].rpartition("/")[2]}
    await panel.open()
    async with stranger(panel, **guest) as client:
        asked = [await client.post("/api/v1/guest/sessions", json={"queue": True}) for _ in "123"]
    assert ["queue" in answer.json() for answer in asked] == [True, True, False]
    assert (await panel.desk.queue.line())["waiting"] == 2


async def test_a_key_has_its_own_places_and_no_more(panel: Panel) -> None:
    made = await panel.http.post("/api/v1/keys", json={"name": "app", "scopes": ["calls"]})
    await panel.open()
    async with stranger(panel, Authorization=f"Bearer {made.json()['key']}") as app:
        tickets = []
        for _ in range(MOST_OF_ONE):
            answer = await app.post(SESSIONS, json={"queue": True})
            tickets.append(answer.json()["queue"]["ticket"])
        assert "queue" not in (await app.post(SESSIONS, json={"queue": True})).json()
        owners = await queue_up(panel)
        assert (await app.post(f"{SESSIONS}/queue/{tickets[0]}")).status_code == 200
        for method in ("POST", "DELETE"):
            await app.request(method, f"{SESSIONS}/queue/{owners}")
        assert (await app.post(f"{SESSIONS}/queue/{owners}")).status_code == 404
    assert (await look(panel, owners))["before_you"] == MOST_OF_ONE


@pytest.mark.parametrize("gone", [False, True])
async def test_who_lets_a_turn_lapse_goes_behind_the_others(gone: bool) -> None:
    """One holder's twenty places cost the owner one held seat, not twenty."""
    clock = ManualClock()
    queue = Queue(1, lambda: 0, clock)
    theirs = [queue.wait("link 1") for _ in range(3)]
    owners = queue.wait()
    again = queue.wait("link 1")
    assert owners is not None
    assert again is not None
    places = [place.ticket for place in theirs if place]
    assert (await queue.look(places[0], "link 1")).your_turn
    for _ in range(4):
        clock.advance(admission.HOLD_S / 3)
        for ticket in [*places[1:], again.ticket] if gone else [*places, again.ticket]:
            with suppress(NotFound):
                await queue.look(ticket, "link 1")
        await queue.look(owners.ticket)
    assert (await queue.look(owners.ticket)).your_turn
    assert (await queue.look(places[1], "link 1")).before_you == 0
    assert (await queue.look(again.ticket, "link 1")).before_you == 2


async def test_a_ticket_that_is_none_is_no_way_in(panel: Panel) -> None:
    wrong = await panel.http.post(SESSIONS, json={"ticket": "A" * 22})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (404, "ticket_unknown")
    assert (await panel.http.post(SESSIONS, json={"ticket": "x"})).status_code == 400
    assert (await panel.http.post(f"{SESSIONS}/queue/x")).status_code == 400


async def test_a_call_ended_by_its_agent_frees_the_seat_soon(panel: Panel) -> None:
    session = await panel.open()
    assert (await panel.http.post(SESSIONS)).status_code == 503
    panel.store.sessions.end(session.id, EndState.CALLER_LEFT)
    panel.clock.advance(0.5)

    async def let_in() -> bool:
        return (await panel.http.post(SESSIONS)).status_code == 201

    await eventually(let_in)


async def test_the_store_has_the_last_word(panel: Panel) -> None:
    """A call that the line does not know of: still no second one, and the count is right again."""
    await panel.open()
    panel.desk.queue.ended()
    full = await panel.http.post(SESSIONS)
    assert (full.status_code, full.json()["error"]["before_you"]) == (503, 0)
    assert (await panel.desk.queue.line())["open"] == 1
    assert len(panel.store.sessions.open()) == 1


async def test_a_thousand_tokens_that_nobody_uses_block_nothing(tmp_path: Path) -> None:
    """Minted and never joined: each seat is free again after half a minute."""
    settings = box_settings(tmp_path / "data", agent=AgentSettings(seats=64))
    async with running_panel(settings) as panel:
        minted = 0
        while minted < 1000:
            answers = await asyncio.gather(*(panel.http.post(SESSIONS) for _ in range(64)))
            minted += sum(1 for answer in answers if answer.status_code == 201)
            assert len(panel.store.sessions.open()) == 64
            await wait(panel, NEVER_JOINED_S + 1, step=NEVER_JOINED_S + 1)
            assert panel.store.sessions.open() == []
        assert {one.reason for one in panel.store.sessions.list(500)} == {"never joined"}
        assert (await panel.desk.queue.line())["open"] == 0
        assert panel.rooms.rooms == {}


async def test_a_seat_that_is_being_taken_is_not_counted_twice() -> None:
    clock = ManualClock()
    calls: list[str] = []
    queue = Queue(2, lambda: len(calls), clock)
    async with queue.seat(None):
        # Written already, and somebody counts before its taker is back.
        calls.append("first")
        clock.now += 1
        await queue.line()
    async with queue.seat(None):
        calls.append("second")
    with pytest.raises(admission.BoxFull):
        await queue.refuse_if_full(None)
