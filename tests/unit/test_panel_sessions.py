"""The panel's API: opening a call, looking at it, ending it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.setting_groups import AgentSettings
from services.panel.access.identity import digest_of, new_key
from tests.panel_app import SESSIONS, Panel, box_settings, running_panel, stranger

pytestmark = pytest.mark.unit


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """A panel with three seats."""
    settings = box_settings(tmp_path / "data", agent=AgentSettings(seats=3))
    async with running_panel(settings) as panel:
        yield panel


async def test_a_call_gets_a_room_an_agent_and_a_token(panel: Panel) -> None:
    answer = await panel.http.post(SESSIONS, json={"caller_name": "Ann"})
    assert answer.status_code == 201
    made = answer.json()
    assert set(made) == {
        "session_id", "room_name", "url", "token", "expires_at", "max_s", "text_only"
    }  # fmt: skip
    assert made["url"] == "ws://localhost:8080"
    assert made["token"] == f"token of caller-{made['session_id']} Ann"
    assert panel.rooms.rooms == {made["room_name"]: set()}
    (dispatch,) = panel.rooms.dispatches
    assert dispatch.metadata["session_id"] == made["session_id"]
    assert dispatch.metadata["resumed"] is False
    assert dispatch.metadata["persona"]["name"] == "default"
    assert panel.store.sessions.get(made["session_id"]).is_open


async def test_no_body_means_the_boxs_own_persona(panel: Panel) -> None:
    answer = await panel.http.post(SESSIONS)
    assert answer.status_code == 201
    assert panel.store.sessions.get(answer.json()["session_id"]).persona == "default"


async def test_the_address_is_the_one_the_caller_used(panel: Panel) -> None:
    used = await panel.http.post(SESSIONS, headers={"Host": "127.0.0.1:8080"})
    assert used.json()["url"] == "ws://127.0.0.1:8080"
    socket = await panel.http.post(SESSIONS, headers={"Host": "localhost"})
    assert socket.json()["url"] == "ws://localhost:8080"
    secure = await panel.http.post(SESSIONS, headers={"X-Forwarded-Proto": "https"})
    assert secure.json()["url"] == "wss://localhost:8080"


@pytest.mark.parametrize(
    ("public_url", "host", "url"),
    [
        ("https://box.example", "box.example", "wss://box.example"),
        ("https://Box.example:443", "box.example", "wss://box.example"),
        ("https://box.example:8443", "box.example:8443", "wss://box.example:8443"),
        ("https://box.example", "localhost:8080", "ws://localhost:8080"),
        ("http://box.lan:80", "box.lan", "ws://box.lan"),
    ],
)
async def test_a_server_with_a_certificate_may_stand_before_the_box(
    tmp_path: Path, public_url: str, host: str, url: str
) -> None:
    async with running_panel(box_settings(tmp_path / "data", public_url=public_url)) as panel:
        # What that server says of itself is not needed.
        for said in ({}, {"X-Forwarded-Proto": "http"}):
            answer = await panel.http.post(SESSIONS, headers={"Host": host, **said})
            assert answer.json()["url"] == url
        assert (await panel.http.post(SESSIONS, headers={"Host": "x"})).status_code == 421


async def test_a_box_that_is_not_ready_says_which_program(panel: Panel) -> None:
    panel.status["stt"] = "the model is being loaded"
    answer = await panel.http.post(SESSIONS)
    assert answer.status_code == 503
    error = answer.json()["error"]
    assert error["code"] == "not_ready"
    assert error["can_retry"] is True
    assert "stt (the model is being loaded)" in error["message"]
    assert int(answer.headers["Retry-After"]) > 0
    assert panel.store.sessions.list() == []


async def test_a_full_box_says_so_at_once(panel: Panel) -> None:
    """100 ask at the same moment for 3 seats: exactly 3 get one, 97 are told to wait."""
    answers = await asyncio.gather(*(panel.http.post(SESSIONS) for _ in range(100)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [503] * 97
    busy = next(answer for answer in answers if answer.status_code == 503)
    assert busy.json()["error"]["code"] == "box_full"
    assert int(busy.headers["Retry-After"]) > 0
    assert len(panel.rooms.rooms) == 3
    await panel.http.post(f"{SESSIONS}/{panel.store.sessions.open()[0].id}/end")
    assert (await panel.http.post(SESSIONS)).status_code == 201


async def test_an_unknown_persona_takes_no_seat(panel: Panel) -> None:
    answer = await panel.http.post(SESSIONS, json={"persona": "nobody"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "persona_unknown")
    assert panel.store.sessions.list() == []


@pytest.mark.parametrize(
    ("wish", "status", "code"),
    [
        ("model: qwen9", 403, "persona_model_not_loaded"),
        ("voice: nobody", 404, "persona_voice_missing"),
    ],
)
async def test_a_persona_the_box_cannot_serve_takes_no_seat(
    panel: Panel, wish: str, status: int, code: str
) -> None:
    folder = panel.desk.settings.data_dir / "personas"
    folder.mkdir()
    (folder / "ann.yaml").write_text(f"name: ann\ninstructions: Answer.\n{wish}\n")
    answer = await panel.http.post(SESSIONS, json={"persona": "ann"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert wish.split()[1] in error["message"]
    assert panel.store.sessions.list() == []


async def test_a_dead_media_server_costs_no_seat(panel: Panel) -> None:
    panel.rooms.down = True
    answer = await panel.http.post(SESSIONS)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "livekit_unavailable")
    (session,) = panel.store.sessions.list()
    assert (session.state, session.reason) == ("failed", "livekit_unavailable")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"persona": "../secrets"}, "persona"),
        ({"caller_name": "x" * 81}, "caller_name"),
        ({"caller_nam": "x"}, "caller_nam"),
        ([1], "the body"),
    ],
)
async def test_a_wrong_body_is_named_and_not_repeated(
    panel: Panel, body: object, where: str
) -> None:
    answer = await panel.http.post(SESSIONS, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "bad_request")
    assert where in error["message"]
    assert "secrets" not in answer.text


async def test_broken_json_is_the_askers_mistake(panel: Panel) -> None:
    for content in (b"{", b"\xff\xfe{}", b'"' + b"[" * 20_000):
        answer = await panel.http.post(
            SESSIONS, content=content, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 400, content[:10]
        assert answer.json()["error"]["code"] == "bad_request"


async def test_calls_are_listed_and_read_back(panel: Panel) -> None:
    session = await panel.open()
    panel.store.turns.begin(session.id, "What do bees make?")
    panel.store.turns.finish(session.id, 0, "Honey.", interrupted=True, ms={"transcript": 5})
    listed = (await panel.http.get(SESSIONS, params={"limit": 5})).json()["sessions"]
    assert [one["session_id"] for one in listed] == [session.id]
    one = (await panel.http.get(f"{SESSIONS}/{session.id}")).json()
    assert (one["state"], one["ended_at"]) == ("active", None)
    transcript = (await panel.http.get(f"{SESSIONS}/{session.id}/transcript")).json()
    (turn,) = transcript["turns"]
    assert (turn["user_text"], turn["agent_text"]) == ("What do bees make?", "Honey.")
    assert turn["interrupted"] is True
    assert turn["ms"] == {"transcript": 5}


async def test_limit_is_bounded(panel: Panel) -> None:
    for limit in ("0", "501", "many"):
        assert (await panel.http.get(SESSIONS, params={"limit": limit})).status_code == 400


async def test_ending_closes_the_room_and_frees_the_seat(panel: Panel) -> None:
    session = await panel.open()
    ended = await panel.http.post(f"{SESSIONS}/{session.id}/end")
    assert (ended.status_code, ended.json()["state"]) == (200, "completed")
    assert panel.rooms.deleted == [session.room_name]
    again = await panel.http.post(f"{SESSIONS}/{session.id}/end")
    assert again.json()["ended_at"] == ended.json()["ended_at"]
    assert panel.store.sessions.open() == []


async def test_a_call_can_be_ended_while_the_media_server_is_down(panel: Panel) -> None:
    session = await panel.open()
    panel.rooms.down = True
    ended = await panel.http.post(f"{SESSIONS}/{session.id}/end")
    assert ended.json()["state"] == "completed"
    panel.rooms.down = False
    await panel.watch.step()
    assert panel.rooms.deleted == [session.room_name]


async def test_a_second_agent_is_sent_only_where_none_is(panel: Panel) -> None:
    session = await panel.open()
    address = f"{SESSIONS}/{session.id}/dispatch"
    young = await panel.http.post(address)
    assert young.json() == {"dispatched": False}
    panel.clock.advance(5)
    assert (await panel.http.post(address)).json() == {"dispatched": True}
    assert len(panel.rooms.dispatches) == 2
    panel.clock.advance(5)
    panel.rooms.join(session.room_name, "agent-1")
    assert (await panel.http.post(address)).json() == {"dispatched": False}
    await panel.http.post(f"{SESSIONS}/{session.id}/end")
    assert (await panel.http.post(address)).json()["error"]["code"] == "call_over"


async def test_no_agent_is_sent_to_a_room_that_a_restart_forgot(panel: Panel) -> None:
    session = await panel.open()
    panel.clock.advance(6)
    panel.rooms.restart()
    answer = await panel.http.post(f"{SESSIONS}/{session.id}/dispatch")
    assert answer.json() == {"dispatched": False}
    assert panel.desk.news.is_set(), "the watch makes the room again"


async def test_an_unknown_call_is_not_found(panel: Panel) -> None:
    for method, path in (
        ("GET", "nobody"), ("GET", "nobody/transcript"), ("POST", "nobody/end"),
        ("POST", "nobody/dispatch"),
    ):  # fmt: skip
        answer = await panel.http.request(method, f"{SESSIONS}/{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "session_unknown")


async def test_health_and_readiness_tell_the_truth(panel: Panel) -> None:
    panel.status["llm"] = "no model"
    assert (await panel.http.get("/healthz")).json() == {"status": "ok"}
    not_ready = await panel.http.get("/readyz")
    assert not_ready.status_code == 503
    named = {one["name"]: one for one in not_ready.json()["programs"]}
    assert named["llm"] == {"name": "llm", "ready": False, "why": "no model"}
    assert named["tts"]["ready"] is True


async def test_strangers_hear_whether_the_box_is_ready_and_not_why(panel: Panel) -> None:
    panel.status["llm"] = "no model"
    keys = {"read": new_key(), "calls": new_key()}
    for scope, (key_id, secret) in keys.items():
        panel.store.api_keys.add(key_id, digest_of(secret), scope, [scope], None)
    by_the_door = {"X-Forwarded-For": "192.168.1.31"}
    async with stranger(panel, **by_the_door) as http:
        answer = await http.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"ready": False})
        for token, knows in (("nobody", False), (keys["calls"][1], False), (keys["read"][1], True)):
            answer = await http.get("/readyz", headers={"Authorization": f"Bearer {token}"})
            assert ("programs" in answer.json()) is knows
            assert answer.json()["ready"] is False
    assert (await panel.http.get("/readyz", headers=by_the_door)).json()["programs"]
    async with stranger(panel) as own_program:
        assert (await own_program.get("/readyz")).json()["programs"]


async def test_readiness_is_asked_once_a_second(panel: Panel) -> None:
    assert (await panel.http.get("/readyz")).status_code == 200
    panel.status["llm"] = "gone"
    assert (await panel.http.get("/readyz")).status_code == 200


async def test_the_page_is_served(panel: Panel) -> None:
    page = await panel.http.get("/talk")
    assert page.status_code == 200
    assert "text/html" in page.headers["Content-Type"]
    assert "Joe" in page.text
