"""Join links: what they open, how they end, and what a guest can never see."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.secrets import link_key
from appliance.setting_groups import AgentSettings
from services.panel import guests
from services.panel.calls import Job
from services.panel.guests import Passes
from services.panel.watch import NEVER_JOINED_S
from tests.panel_app import SESSIONS, Panel, box_settings, running_panel, stranger, wait

pytestmark = pytest.mark.unit

LINKS = "/api/v1/links"
CALLS = "/api/v1/guest/sessions"


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """A panel with three seats."""
    settings = box_settings(tmp_path / "data", agent=AgentSettings(seats=3))
    async with running_panel(settings) as panel:
        yield panel


@pytest.fixture
async def guest(panel: Panel) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who has not signed in."""
    async with stranger(panel) as client:
        yield client


async def make(panel: Panel, **terms: Any) -> dict[str, Any]:
    """Make a link; with its token beside its address."""
    answer = await panel.http.post(LINKS, json={"name": "Reception", **terms})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return {**made, "token": made["url"].rpartition("/")[2]}


def by(secret: str) -> dict[str, str]:
    """What a guest sends."""
    return {"X-Earshot-Guest": secret}


async def call(guest: httpx.AsyncClient, token: str, **body: Any) -> httpx.Response:
    """Ask for a call."""
    return await guest.post(CALLS, json=body, headers=by(token))


async def test_a_link_opens_a_call_within_its_bounds(
    panel: Panel, guest: httpx.AsyncClient
) -> None:
    link = await make(panel, minutes=5, text_only=True, uses=2)
    assert link["url"].startswith("http://localhost:8080/join/")
    opened = await call(guest, link["token"], caller_name="Ann")
    assert opened.status_code == 201, opened.text
    made = opened.json()
    assert (made["max_s"], made["text_only"]) == (300, True)
    session = panel.store.sessions.get(made["session_id"])
    assert (session.origin, session.link_id, session.caller_name) == ("link", link["id"], "Ann")
    assert panel.rooms.visitors[-1].speaks is False
    seen = (await panel.http.get(f"{LINKS}/{link['id']}")).json()
    assert (seen["uses"], seen["uses_allowed"], seen["open_calls"]) == (1, 2, 1)


async def test_a_guest_looks_after_their_own_call(panel: Panel, guest: httpx.AsyncClient) -> None:
    link = await make(panel)
    made = (await call(guest, link["token"])).json()
    mine, call_id = by(made["guest"]), made["session_id"]
    panel.store.turns.begin(call_id, "What do bees make?")
    panel.store.turns.finish(call_id, 0, "Honey.", interrupted=False, ms={})
    seen = (await guest.get(f"{CALLS}/{call_id}", headers=mine)).json()
    assert (seen["state"], seen["session_id"]) == ("active", call_id)
    words = (await guest.get(f"{CALLS}/{call_id}/transcript", headers=mine)).json()
    assert [(turn["user_text"], turn["agent_text"]) for turn in words["turns"]] == [
        ("What do bees make?", "Honey.")
    ]
    assert (await guest.post(f"{CALLS}/{call_id}/dispatch", headers=mine)).status_code == 200
    thumb = {"thumb": 1, "note": "Kind."}
    given = await guest.post(f"{CALLS}/{call_id}/feedback", json=thumb, headers=mine)
    assert given.status_code == 200
    ended = await guest.post(f"{CALLS}/{call_id}/end", headers=mine)
    assert ended.json()["state"] == "completed"
    kept = panel.store.sessions.get(call_id)
    assert (kept.caller_thumb, kept.caller_note) == (1, "Kind.")


async def test_a_guest_sees_no_other_call(panel: Panel, guest: httpx.AsyncClient) -> None:
    """Neither a list, nor the owner's call, nor that of another guest of the same link."""
    link = await make(panel)
    mine = (await call(guest, link["token"])).json()
    other = (await call(guest, link["token"])).json()
    owners = await panel.open()
    assert (await guest.get(SESSIONS)).status_code == 401
    assert (await guest.get(CALLS, headers=by(mine["guest"]))).status_code == 401
    for secret in (mine["guest"], link["token"], "", "x", mine["guest"][:-1]):
        for target in (other["session_id"], owners.id, "nobody"):
            for method, path in (
                ("GET", ""), ("GET", "/transcript"), ("POST", "/end"), ("POST", "/dispatch")
            ):  # fmt: skip
                answer = await guest.request(method, f"{CALLS}/{target}{path}", headers=by(secret))
                assert answer.status_code in (404, 429), (secret, target, path)
                panel.clock.advance(guests.GUESS_WINDOW_S)
    assert panel.store.sessions.get(other["session_id"]).is_open


async def test_uses_are_counted_with_the_seat(tmp_path: Path) -> None:
    """Twenty ask at one moment with a link for two calls, and there are seats for all: two get one."""
    settings = box_settings(tmp_path / "data", agent=AgentSettings(seats=32))
    async with running_panel(settings) as panel, stranger(panel) as guest:
        link = await make(panel, uses=2)
        answers = await asyncio.gather(*(call(guest, link["token"]) for _ in range(20)))
        assert sorted(answer.status_code for answer in answers) == [201] * 2 + [410] * 18
        over = next(answer for answer in answers if answer.status_code == 410)
        assert over.json()["error"]["code"] == "link_used_up"
        assert panel.store.links.get(link["id"]).uses == 2


async def test_a_full_box_costs_no_use_and_gives_guests_a_place(
    panel: Panel, guest: httpx.AsyncClient
) -> None:
    link, other = await make(panel, uses=1), await make(panel)
    sessions = [await panel.open() for _ in range(3)]
    full = await call(guest, link["token"], queue=True)
    assert full.status_code == 503
    ticket = full.json()["queue"]["ticket"]
    assert panel.store.links.get(link["id"]).uses == 0
    stolen = await guest.post(f"{CALLS}/queue/{ticket}", headers=by(other["token"]))
    assert stolen.status_code == 404
    await panel.http.post(f"{SESSIONS}/{sessions[0].id}/end")
    told = await guest.post(f"{CALLS}/queue/{ticket}", headers=by(link["token"]))
    assert told.json()["your_turn"] is True
    assert (await call(guest, other["token"], ticket=ticket)).status_code == 404
    assert (await call(guest, link["token"], ticket=ticket)).status_code == 201
    left = await guest.delete(f"{CALLS}/queue/{ticket}", headers=by(link["token"]))
    assert left.status_code == 204


async def test_a_guest_who_never_came_has_not_used_the_link(
    panel: Panel, guest: httpx.AsyncClient
) -> None:
    link = await make(panel, uses=1)
    await call(guest, link["token"])
    assert panel.store.links.get(link["id"]).uses == 1
    await wait(panel, NEVER_JOINED_S + 1, step=NEVER_JOINED_S + 1)
    assert panel.store.links.get(link["id"]).uses == 0
    made = (await call(guest, link["token"])).json()
    panel.store.sessions.mark_joined(made["session_id"])
    panel.store.sessions.end(made["session_id"], "caller_left")
    assert panel.store.links.get(link["id"]).uses == 1


async def test_a_link_that_is_over_says_why(
    panel: Panel, guest: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked, expired = await make(panel), await make(panel, hours=1)
    await panel.http.post(f"{LINKS}/{revoked['id']}/revoke")
    found = panel.store.links.get(expired["id"])
    past = replace(found, valid_until=datetime.now(UTC) - timedelta(seconds=1))
    monkeypatch.setattr(panel.store.links, "get", lambda _id: past)
    answer = await call(guest, expired["token"])
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "link_expired")
    page = await guest.get(f"/join/{expired['token']}")
    assert page.status_code == 410
    assert "no longer valid" in page.text
    monkeypatch.undo()
    answer = await call(guest, revoked["token"])
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "link_revoked")
    assert "taken back" in (await guest.get(f"/join/{revoked['token']}")).text
    assert panel.store.sessions.list() == []


async def test_revoking_leaves_calls_or_ends_them_as_asked(
    panel: Panel, guest: httpx.AsyncClient
) -> None:
    link = await make(panel)
    made = (await call(guest, link["token"])).json()
    seen = await panel.http.post(f"{LINKS}/{link['id']}/revoke")
    assert (seen.json()["state"], seen.json()["open_calls"]) == ("revoked", 1)
    mine = by(made["guest"])
    again = await guest.post(f"{CALLS}/{made['session_id']}/dispatch", headers=mine)
    assert again.status_code == 200, "a call that goes on is still looked after"
    await panel.http.post(f"{LINKS}/{link['id']}/revoke", json={"end_calls": True})
    ended = (await guest.get(f"{CALLS}/{made['session_id']}", headers=mine)).json()
    assert (ended["state"], ended["reason"]) == ("completed", "the owner took the link back")
    assert made["room_name"] not in panel.rooms.rooms


async def test_the_guests_page_shows_the_call_and_nothing_else(
    panel: Panel, guest: httpx.AsyncClient
) -> None:
    link = await make(panel, name="<b>Front</b> desk", minutes=5)
    page = await guest.get(f"/join/{link['token']}")
    assert page.status_code == 200
    for needed in (
        "&lt;b&gt;Front&lt;/b&gt; desk", "5 minutes at most", 'data-api="/api/v1/guest/sessions"',
        f'data-guest="{link["token"]}"', "the sound is never kept",
    ):  # fmt: skip
        assert needed in page.text, needed
    for foreign in ('="/settings', '="/calls', '="/models', '="/access', "<nav", link["id"]):
        assert foreign not in page.text, foreign


@pytest.mark.parametrize("token", ["x", "A" * 32, "é" * 32, "%00", "..", "a" * 5000])
async def test_a_wrong_address_is_a_plain_page(
    panel: Panel, guest: httpx.AsyncClient, token: str
) -> None:
    page = await guest.get(f"/join/{token}")
    assert page.status_code in (303, 404), token
    if page.status_code == 404 and token != "..":
        assert "does not lead anywhere" in page.text
    deleted = await make(panel)
    assert (await panel.http.delete(f"{LINKS}/{deleted['id']}")).status_code == 204
    gone = await guest.get(f"/join/{deleted['token']}")
    assert gone.status_code == 404
    assert "does not lead anywhere" in gone.text


async def test_guessing_is_slowed_and_genuine_links_are_not(
    panel: Panel, guest: httpx.AsyncClient
) -> None:
    link = await make(panel)
    for _ in range(guests.GUESSES):
        assert (await guest.get(f"/join/{'A' * 32}")).status_code == 404
    slowed = await guest.get(f"/join/{'A' * 32}")
    assert slowed.status_code == 429
    assert (await guest.get(f"/join/{link['token']}")).status_code == 200
    panel.clock.advance(guests.GUESS_WINDOW_S + 1)
    assert (await guest.get(f"/join/{'A' * 32}")).status_code == 404


async def test_the_database_alone_gives_no_access(panel: Panel) -> None:
    link = await make(panel)
    settings = panel.desk.settings
    for name in ("appliance.db", "appliance.db-wal"):
        path = settings.data_dir / name
        assert link["token"].encode() not in (path.read_bytes() if path.exists() else b"")
    with sqlite3.connect(settings.data_dir / "appliance.db") as database:
        (row,) = database.execute("SELECT id FROM links").fetchall()
    assert Passes("another box's key").token(row[0]) != link["token"]
    assert Passes(link_key(settings)).token(row[0]) == link["token"]


def test_a_token_has_one_spelling() -> None:
    passes = Passes("k" * 32)
    token = passes.token("0123456789abcdef")
    assert passes.link_id(token) == "0123456789abcdef"
    for wrong in (token[:-1], token + "=", token + "\n", f"!{token[1:]}", token.swapcase(), ""):
        assert passes.link_id(wrong) is None, wrong


async def test_the_code_is_an_image_of_the_address(panel: Panel) -> None:
    link = await make(panel)
    answer = await panel.http.get(f"{LINKS}/{link['id']}/qr.svg")
    assert answer.headers["Content-Type"].startswith("image/svg+xml")
    assert answer.text.startswith("<svg ")
    assert "style=" not in answer.text


async def test_the_longest_call_is_enforced_and_said(
    panel: Panel, guest: httpx.AsyncClient
) -> None:
    link = await make(panel, minutes=1)
    made = (await call(guest, link["token"])).json()
    room = made["room_name"]
    panel.rooms.join(room, f"caller-{made['session_id']}")
    panel.rooms.join(room, "agent-1")
    await panel.desk.job_began(made["session_id"], Job(1, "agent-1"))
    await wait(panel, 39)
    assert panel.rooms.said == []
    await wait(panel, 2)
    assert panel.rooms.said == [(room, "agent-1", "ending_soon")]
    await wait(panel, 18)
    assert [code for _room, _agent, code in panel.rooms.said] == ["ending_soon", "time_is_up"]
    await wait(panel, 3)
    session = panel.store.sessions.get(made["session_id"])
    assert (session.state, session.reason) == ("timed_out", "the longest call is over")


async def test_the_owners_page_makes_and_takes_back(panel: Panel) -> None:
    page = await panel.http.get("/access")
    assert "There are no links yet" in page.text
    assert "http://localhost" in page.text
    form = {"name": "Wall", "persona": "default", "uses": "3", "valid": "2", "valid_unit": "days"}
    made = await panel.http.post("/access/links", data=form)
    assert made.status_code == 204, made.text
    address = made.headers["HX-Redirect"]
    shown = await panel.http.get(address)
    (link,) = panel.store.links.list()
    assert link.uses_allowed == 3
    assert link.valid_until is not None
    assert abs((link.valid_until - datetime.now(UTC)).total_seconds() - 2 * 86400) < 60
    token = Passes(link_key(panel.desk.settings)).token(link.id)
    assert f"http://localhost:8080/join/{token}" in shown.text
    assert (await panel.http.get(f"{address}/print")).status_code == 200
    wrong = await panel.http.post("/access/links", data={**form, "uses": "many"})
    assert wrong.status_code == 422
    assert "the number of calls" in wrong.text
    assert 'value="Wall"' in wrong.text
    assert (await panel.http.post(f"/access/links/{link.id}/revoke")).status_code == 204
    assert "taken back" in (await panel.http.get("/access")).text
    assert (await panel.http.post(f"/access/links/{link.id}/delete")).status_code == 204
    assert panel.store.links.list() == []


async def test_a_call_that_is_ended_before_its_room_is_there_is_not_built(
    panel: Panel, guest: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = await make(panel)
    making, go_on, create = asyncio.Event(), asyncio.Event(), panel.rooms.create

    async def slow(room: str, *, shared: bool = False) -> None:
        making.set()
        await go_on.wait()
        await create(room, shared=shared)

    monkeypatch.setattr(panel.rooms, "create", slow)
    asked = asyncio.create_task(call(guest, link["token"]))
    await making.wait()
    await panel.http.post(f"{LINKS}/{link['id']}/revoke", json={"end_calls": True})
    go_on.set()
    answer = await asked
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "call_over")
    assert panel.rooms.rooms == {}
    assert (await panel.desk.queue.line())["open"] == 0


@pytest.mark.parametrize(
    ("changes", "begins", "hint"),
    [
        ({}, "http://localhost:8080/join/", "this machine only"),
        (
            {"front": {"lan": True}, "livekit": {"node_ip": "192.168.7.20"}},
            "https://192.168.7.20:8443/join/", "does not trust this box yet",
        ),
        ({"public_url": "https://ear.example"}, "https://ear.example/join/", ""),
    ],
)  # fmt: skip
async def test_a_link_begins_with_the_address_by_which_others_come(
    tmp_path: Path, changes: dict[str, Any], begins: str, hint: str
) -> None:
    async with running_panel(box_settings(tmp_path / "data", **changes)) as panel:
        made = (await panel.http.post("/api/v1/links", json={"name": "Reception"})).json()
        assert made["url"].startswith(begins)
        page = (await panel.http.get(f"/access/links/{made['id']}")).text
        assert made["url"] in page
        hints = ("this machine only", "does not trust this box yet")
        assert [each for each in hints if each in page] == ([hint] if hint else [])
