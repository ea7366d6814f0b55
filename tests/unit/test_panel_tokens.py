"""LiveKit tokens for programs of others: admission, rooms, identities, grants, other origins."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from appliance.secrets import LiveKitKeys
from appliance.setting_groups import AgentSettings, FrontSettings, LiveKitSettings
from appliance.store import EndState
from services.panel.calls import Job
from services.panel.rooms import LiveKitRooms, Visitor
from services.panel.watch import CALLER_GRACE_S
from tests.panel_app import SESSIONS, Panel, box_settings, running_panel, stranger, wait

pytestmark = pytest.mark.unit

TOKEN = "/v1/livekit/token"
AGENT_TOKEN = "/v1/livekit/agent-token"
SITE = "http://localhost:3000"


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """A panel with two seats, and one other site that may use it."""
    settings = box_settings(
        tmp_path / "data", agent=AgentSettings(seats=2), front=FrontSettings(cors_origins=[SITE])
    )
    async with running_panel(settings) as panel:
        yield panel


async def key(panel: Panel, *scopes: str) -> str:
    """Make a key of these scopes."""
    answer = await panel.http.post("/api/v1/keys", json={"name": "app", "scopes": list(scopes)})
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["key"]
    return made


@asynccontextmanager
async def program(panel: Panel, *scopes: str) -> AsyncIterator[httpx.AsyncClient]:
    """A program with a key of these scopes."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=panel.app), base_url=str(panel.http.base_url),
        headers={"Authorization": f"Bearer {await key(panel, *scopes)}"},
    ) as client:  # fmt: skip
        yield client


@pytest.fixture
async def app(panel: Panel) -> AsyncIterator[httpx.AsyncClient]:
    """A program with a key for calls."""
    async with program(panel, "calls") as client:
        yield client


async def made(app: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """A token."""
    answer = await app.post(TOKEN, json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_livekits_own_shape_is_answered(panel: Panel, app: httpx.AsyncClient) -> None:
    """As TokenSource.endpoint sends it, with and without options."""
    first = await made(app)
    assert first["server_url"] == "ws://localhost:8080"
    assert first["participant_token"]
    assert first["room_name"] == f"call-{first['session_id']}"
    session = panel.store.sessions.get(first["session_id"])
    assert (session.origin, session.is_open) == ("token", True)
    second = await made(
        app, room_name="my room", participant_name="Ann", participant_identity="ann-7",
        participant_metadata="{}", participant_attributes={"team": "red"},
        room_config={"agents": [{"agent_name": "appliance", "metadata": "", "deployment": ""}]},
    )  # fmt: skip
    assert (second["room_name"], second["identity"]) == ("my room", "ann-7")
    visitor = panel.rooms.visitors[-1]
    assert (visitor.name, visitor.attributes["team"]) == ("Ann", "red")
    assert panel.rooms.shared == {first["room_name"], "my room"}


async def test_every_token_passes_the_admission(panel: Panel, app: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(app.post(TOKEN, json={}) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] * 2 + [503] * 18
    busy = next(answer for answer in answers if answer.status_code == 503)
    assert busy.json()["error"]["code"] == "box_full"
    assert int(busy.headers["Retry-After"]) > 0
    assert "queue" not in busy.json()


async def test_a_named_room_is_one_call(panel: Panel, app: httpx.AsyncClient) -> None:
    """Five ask for the same new room at one moment: one seat, one agent, five people."""
    tokens = await asyncio.gather(*(made(app, room_name="lobby") for _ in range(5)))
    assert len({token["session_id"] for token in tokens}) == 1
    assert len({token["identity"] for token in tokens}) == 5
    assert len(panel.rooms.dispatches) == 1
    assert (await panel.desk.queue.line())["open"] == 1


async def test_an_empty_room_name_is_a_call_of_its_own(
    panel: Panel, app: httpx.AsyncClient
) -> None:
    rooms = {(await made(app, room_name=""))["room_name"] for _ in range(2)}
    assert len(rooms) == 2


async def test_the_shared_room_of_the_settings(tmp_path: Path) -> None:
    settings = box_settings(tmp_path / "data", livekit=LiveKitSettings(room_name="lobby"))
    async with running_panel(settings) as panel, program(panel, "calls") as app:
        first, second = await made(app), await made(app, room_name="")
        assert first["room_name"] == second["room_name"] == "lobby"
        assert first["session_id"] == second["session_id"]


async def test_a_room_is_used_again_after_its_call(panel: Panel, app: httpx.AsyncClient) -> None:
    first = await made(app, room_name="lobby")
    panel.rooms.join("lobby", "agent-1")
    await panel.desk.job_began(first["session_id"], Job(1, "agent-1"))
    # The agent ends it in the store; the panel has not seen that yet.
    panel.store.sessions.end(first["session_id"], EndState.CALLER_LEFT)
    call = panel.desk.book.get(first["session_id"])
    assert call is not None
    assert call.job is not None
    call.job.gone.set()
    second = await made(app, room_name="lobby")
    assert second["session_id"] != first["session_id"]
    assert panel.rooms.rooms["lobby"] == set(), "the old agent is still in the new call's room"
    await wait(panel, 10)
    assert "lobby" in panel.rooms.rooms, "the old call's end closed the new call's room"
    assert panel.store.sessions.get(second["session_id"]).is_open
    assert panel.store.sessions.get(first["session_id"]).room_name == f"ended-{first['session_id']}"


async def test_a_room_left_open_is_closed_before_it_is_used_again(
    panel: Panel, app: httpx.AsyncClient
) -> None:
    first = await made(app, room_name="lobby")
    panel.rooms.join("lobby", "agent-1")
    panel.rooms.down = True
    await panel.desk.end(first["session_id"], EndState.COMPLETED)
    assert panel.desk.leftovers == {"lobby"}
    panel.rooms.down = False
    await made(app, room_name="lobby")
    assert panel.desk.leftovers == set()
    assert panel.rooms.rooms["lobby"] == set()


async def test_calls_of_others_are_not_open_to_tokens(panel: Panel, app: httpx.AsyncClient) -> None:
    page = await panel.open()
    program = (await app.post(SESSIONS)).json()
    ended = f"ended-{page.id}"
    for room in (page.room_name, program["room_name"], "call-0123456789abcdef", ended, "doctor-1"):
        answer = await app.post(TOKEN, json={"room_name": room})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "room_taken"), room


async def test_an_identity_is_the_key_s_that_asked_first(
    panel: Panel, app: httpx.AsyncClient
) -> None:
    first = await made(app, room_name="lobby", participant_identity="ann")
    own = await made(app, room_name="hall")
    assert (await made(app, room_name="lobby", participant_identity="ann"))["identity"] == "ann"
    async with program(panel, "calls") as other:
        for room, identity in (("lobby", "ann"), ("hall", own["identity"])):
            wish = {"room_name": room, "participant_identity": identity}
            answer = await other.post(TOKEN, json=wish)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "identity_taken")
        joined = await made(other, room_name="lobby", participant_identity="ben")
        assert joined["session_id"] == first["session_id"]
    async with program(panel, "admin") as admin:
        await made(admin, room_name="lobby", participant_identity="ann")


async def test_a_token_of_an_ended_call_lets_nobody_into_the_next(
    panel: Panel, app: httpx.AsyncClient
) -> None:
    """The room's name is the same; the media server cannot tell the two calls apart."""
    old = await made(app, room_name="lobby", participant_identity="ben")
    await panel.desk.end(old["session_id"], EndState.COMPLETED)
    new = await made(app, room_name="lobby", participant_identity="ann")
    await made(app, room_name="lobby", participant_identity="eve")
    async with program(panel, "admin") as admin:
        assert (await admin.post(AGENT_TOKEN, json={"room_name": "lobby"})).status_code == 201
    named = [visitor.attributes["earshot.call"] for visitor in panel.rooms.visitors]
    assert named == [old["session_id"], *[new["session_id"]] * 3]
    panel.rooms.join("lobby", "ben", old["session_id"])
    panel.rooms.join("lobby", "external-1", old["session_id"])
    await panel.watch.step()
    assert panel.rooms.rooms["lobby"] == set()
    assert panel.store.sessions.get(new["session_id"]).joined_at is None
    panel.rooms.join("lobby", "agent-1")
    for name in ("ann", "eve", "external-1"):
        panel.rooms.join("lobby", name, new["session_id"])
    await panel.watch.step()
    assert panel.rooms.rooms["lobby"] == {"ann", "eve", "external-1", "agent-1"}
    # The media server forgets the room; those of this call come back with what they have.
    panel.rooms.restart()
    await panel.watch.step()
    panel.rooms.join("lobby", "ann", new["session_id"])
    await panel.watch.step()
    assert panel.rooms.rooms["lobby"] == {"ann"}


async def test_a_key_ends_and_judges_its_own_calls_and_what_it_did_is_noted(
    panel: Panel, app: httpx.AsyncClient
) -> None:
    theirs = await panel.open()
    own = (await app.post(SESSIONS)).json()["session_id"]
    for path, body in (("end", None), ("feedback", {"thumb": 1})):
        answer = await app.post(f"{SESSIONS}/{theirs.id}/{path}", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "call_of_another")
        assert (await app.post(f"{SESSIONS}/{own}/{path}", json=body)).status_code == 200, path
    token = (await made(app, room_name="lobby"))["session_id"]
    assert (await app.post(f"{SESSIONS}/{token}/end")).status_code == 200
    assert panel.store.sessions.get(theirs.id).is_open
    async with program(panel, "read") as reader:
        await reader.get(f"{SESSIONS}/{theirs.id}/transcript")
    async with program(panel, "admin") as admin:
        assert (await admin.post(f"{SESSIONS}/{theirs.id}/end")).status_code == 200
    rows, _ = panel.store.audit.list(50)
    deeds = {(row.action, row.object) for row in rows}
    assert deeds >= {
        ("token.minted", theirs.id), ("token.minted", own), ("call.read", theirs.id),
        ("call.ended", own), ("call.ended", token), ("call.ended", theirs.id),
    }  # fmt: skip


async def test_a_call_lasts_while_anybody_is_in_it(panel: Panel, app: httpx.AsyncClient) -> None:
    token = await made(app, room_name="lobby", participant_identity="ann")
    await made(app, room_name="lobby", participant_identity="ben")
    await panel.desk.job_began(token["session_id"], Job(1, "agent-1"))
    for name in ("ann", "ben", "agent-1", "external-1"):
        panel.rooms.join("lobby", name)
    await panel.watch.step()
    panel.rooms.leave("lobby", "ann")
    await wait(panel, CALLER_GRACE_S + 5)
    assert panel.store.sessions.get(token["session_id"]).is_open
    panel.rooms.leave("lobby", "ben")
    await wait(panel, CALLER_GRACE_S + 1)
    assert panel.store.sessions.get(token["session_id"]).state == "caller_left"


async def test_who_answers_is_read_and_nothing_else(panel: Panel, app: httpx.AsyncClient) -> None:
    folder = panel.desk.settings.data_dir / "personas"
    folder.mkdir()
    for name in ("ann", "ben", "carl"):
        (folder / f"{name}.yaml").write_text(f"name: {name}\ninstructions: Answer.\n")
    wishes: list[tuple[dict[str, Any], str]] = [
        ({"room_config": {"agents": [{"agent_name": "ann"}]}}, "ann"),
        ({"room_config": {"agents": [{"metadata": '{"persona": "ben"}'}]}}, "ben"),
        ({"room_config": {"agents": [{"metadata": "[" * 4000}]}}, "default"),
        ({"room_config": {"max_participants": 99, "egress": {"room": {}}}}, "default"),
        ({"persona": "carl", "room_config": {"agents": [{"agent_name": "ann"}]}}, "carl"),
    ]
    for wish, persona in wishes:
        token = await made(app, **wish)
        assert panel.store.sessions.get(token["session_id"]).persona == persona, wish
        await panel.desk.end(token["session_id"], EndState.COMPLETED)
    for wrong, status in (
        ({"agent_name": "my agent"}, 404), ({"agent_name": "nobody"}, 404),
        ({"metadata": "é" * 2049}, 400), ({"metadata": '{"persona": "../../etc/passwd"}'}, 404),
    ):  # fmt: skip
        answer = await app.post(TOKEN, json={"room_config": {"agents": [wrong]}})
        assert answer.status_code == status, wrong


@pytest.mark.parametrize(
    "body",
    [
        {"participant_identity": "agent-1"},
        {"participant_identity": "external-1"},
        {"participant_attributes": {"lk.agent.state": "speaking"}},
        {"participant_attributes": {"earshot.call": "0123456789abcdef"}},
        {"participant_metadata": "x" * 4097},
        {"room_name": "../x"},
        {"room_name": "x" * 65},
        {"ttl_s": 10**30},
        {"ttl_s": 5},
        {"participant_name": "\ud800"},
        {"participant_name": "a\0b"},
        {"video": {"roomAdmin": True}},
    ],
)
async def test_what_is_wrong_is_refused(
    panel: Panel, app: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    content = json.dumps(body).encode()
    answer = await app.post(TOKEN, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")
    assert panel.store.sessions.list() == []


async def test_scopes(panel: Panel) -> None:
    async with stranger(panel) as nobody:
        assert (await nobody.post(TOKEN, json={})).status_code == 401
    async with program(panel, "read", "speech") as reader:
        for method, path in (("POST", TOKEN), ("POST", AGENT_TOKEN), ("GET", "/v1/livekit/status")):
            assert (await reader.request(method, path)).status_code == 403, path
    async with program(panel, "calls") as caller:
        assert (await caller.post(AGENT_TOKEN, json={"room_name": "x"})).status_code == 403
        for ask in ({"params": {"ttl_s": 301}}, {"json": {"ttl_s": 86400}}):
            answer = await caller.post(TOKEN, **ask)  # type: ignore[arg-type]
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "ttl_too_long")
        assert (await caller.post(TOKEN, params={"ttl_s": 60})).status_code == 201
        assert panel.rooms.visitors[-1].ttl_s == 60
    async with program(panel, "admin") as admin:
        assert (await admin.post(TOKEN, json={"ttl_s": 86400})).status_code == 201


async def test_an_outside_agent_joins_a_call_that_runs(panel: Panel) -> None:
    async with program(panel, "admin") as admin:
        missing = await admin.post(AGENT_TOKEN, json={"room_name": "nowhere"})
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "room_unknown")
        token = await made(admin, room_name="lobby")
        answer = await admin.post(AGENT_TOKEN, json={"room_name": "lobby", "identity": "notes"})
        assert answer.status_code == 201, answer.text
        assert answer.json()["identity"] == "external-notes"
        assert panel.rooms.visitors[-1].is_agent
        await panel.desk.end(token["session_id"], EndState.COMPLETED)
        gone = await admin.post(AGENT_TOKEN, json={"room_name": "lobby"})
        assert gone.status_code == 404


async def test_the_status_says_what_there_is(panel: Panel, app: httpx.AsyncClient) -> None:
    await made(app)
    assert (await app.get("/v1/livekit/status")).json() == {
        "available": True, "server_url": "ws://localhost:8080", "room_name": "",
        "token_ttl_s": 300, "seats": 2, "calls": 1, "waiting": 0,
    }  # fmt: skip
    panel.rooms.down = True
    assert (await app.get("/v1/livekit/status")).json()["available"] is False


def _granted(visitor: Visitor) -> tuple[dict[str, Any], dict[str, Any]]:
    keys = LiveKitKeys("APIkey", "s" * 48)

    async def mint() -> str:
        rooms = LiveKitRooms("http://127.0.0.1:7880", keys, 300, Path("agent.sock"))
        try:
            return rooms.token("lobby", visitor).token
        finally:
            await rooms.close()

    claims = jwt.decode(asyncio.run(mint()), keys.api_secret, algorithms=["HS256"])
    return claims, {name: value for name, value in claims["video"].items() if value}


def test_the_least_that_a_token_needs() -> None:
    base = {"roomJoin": True, "room": "lobby", "canSubscribe": True, "canPublishData": True}
    speaking = {**base, "canPublish": True, "canPublishSources": ["microphone"]}
    claims, granted = _granted(Visitor("ann", "Ann", 60, metadata="m", attributes={"a": "b"}))
    assert granted == speaking
    assert claims["exp"] - claims["nbf"] == 60
    assert (claims["sub"], claims["metadata"], claims["attributes"]) == ("ann", "m", {"a": "b"})
    assert "roomConfig" not in claims
    claims, granted = _granted(Visitor("ann", speaks=False))
    assert granted == base
    assert claims["exp"] - claims["nbf"] == 300
    claims, granted = _granted(Visitor("external-1", is_agent=True))
    assert granted == {**speaking, "canUpdateOwnMetadata": True}
    assert claims["kind"] == "agent"
