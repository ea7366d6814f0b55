"""Past calls over the panel's API: search, reading, files, feedback, ending and deletion."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.store import EndState, Session
from appliance.store.audit import AuditEntry
from services.panel.calls import Job
from tests.canary import files_with
from tests.panel_app import Panel, box_settings, running_panel, stranger

pytestmark = pytest.mark.unit
CALLS = "/api/v1/calls"
CANARY = "canary-" + "p" * 40


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """A running panel."""
    async with running_panel(box_settings(tmp_path / "data")) as panel:
        yield panel


def held(panel: Panel, user: str = "What do bees make?", agent: str = "Honey.") -> Session:
    """An ended call with a greeting and one exchange."""
    store = panel.store
    call = store.sessions.create(persona="default", keep_transcript=True)
    store.turns.begin(call.id, None)
    store.turns.finish(call.id, 0, "Hello.", interrupted=False, ms={})
    store.turns.begin(call.id, user)
    ms: dict[str, int | None] = {"transcript": 545, "first_sound": 916, "at_ear": None}
    store.turns.finish(call.id, 1, agent, interrupted=True, ms=ms)
    store.sessions.end(call.id, EndState.CALLER_LEFT, "")
    return store.sessions.get(call.id)


def noted(panel: Panel, action: str) -> list[AuditEntry]:
    """What the audit log has of this kind, newest first."""
    return panel.store.audit.list(actions=(action,))[0]


async def test_search_and_pages(panel: Panel) -> None:
    calls = [held(panel, f"question {number}") for number in range(3)]
    first = (await panel.http.get(CALLS, params={"limit": 2, "state": "ended"})).json()
    assert [one["session_id"] for one in first["calls"]] == [calls[2].id, calls[1].id]
    rest = (await panel.http.get(CALLS, params={"limit": 2, "cursor": first["next"]})).json()
    assert [one["session_id"] for one in rest["calls"]] == [calls[0].id]
    assert rest["next"] is None
    found = (await panel.http.get(CALLS, params={"q": "QUESTION 1"})).json()["calls"]
    assert [(one["session_id"], one["turns"], one["excerpt"]) for one in found] == [
        (calls[1].id, 2, "question 1")
    ]
    days = {"from": "2020-01-01", "until": "2020-01-01"}
    assert (await panel.http.get(CALLS, params=days)).json()["calls"] == []


@pytest.mark.parametrize(
    "params",
    [
        {"from": "yesterday"}, {"until": "9999-12-31"}, {"from": "0001-01-01T00:00:00+23:59"},
        {"cursor": "x"}, {"limit": "0"}, {"limit": "1" * 400}, {"q": "a\x00b"}, {"q": "a" * 201},
        {"state": "gone"}, {"persona": "../x"}, {"feedback": "maybe"}, {"colour": "red"},
    ],
)  # fmt: skip
async def test_what_is_no_search_is_refused(panel: Panel, params: dict[str, str]) -> None:
    answer = await panel.http.get(CALLS, params=params)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] in ("bad_request", "date_invalid", "cursor_invalid")


async def test_reading_is_noted_without_the_words(panel: Panel) -> None:
    call = held(panel)
    whole = (await panel.http.get(f"{CALLS}/{call.id}")).json()
    assert whole["turns"][1]["user_text"] == "What do bees make?"
    assert whole["turns"][1]["ms"] == {"transcript": 545, "first_sound": 916, "at_ear": None}
    (entry,) = noted(panel, "call.read")
    assert (entry.object, entry.actor) == (call.id, "command")
    assert "bees" not in json.dumps(entry.as_json())
    assert (await panel.http.get(f"{CALLS}/nobody")).status_code == 404
    assert (await panel.http.get(f"{CALLS}/a'b")).status_code == 400


@pytest.mark.parametrize(
    ("form", "media", "holds"),
    [
        ("json", "application/json", '"user_text": "What do bees make?"'),
        ("text", "text/plain; charset=utf-8", "Caller: What do bees make?"),
        ("srt", "application/x-subrip; charset=utf-8", "Assistant: Honey. [cut short]"),
    ],
)
async def test_a_call_is_taken_away(panel: Panel, form: str, media: str, holds: str) -> None:
    call = held(panel)
    answer = await panel.http.get(f"{CALLS}/{call.id}/export", params={"format": form})
    assert answer.headers["content-type"] == media
    assert call.id in answer.headers["content-disposition"]
    assert answer.headers["content-disposition"].startswith("attachment")
    assert holds in answer.text
    assert noted(panel, "call.exported")[0].detail == {"format": form}


async def test_feedback_of_both_sides(panel: Panel) -> None:
    call = held(panel)
    mine = await panel.http.post(
        f"/api/v1/sessions/{call.id}/feedback", json={"thumb": 1, "note": "Kind."}
    )
    # The caller's side does not show what the owner thinks.
    assert mine.json() == {"thumb": 1, "note": "Kind."}
    owner = await panel.http.put(f"{CALLS}/{call.id}/feedback", json={"thumb": -1})
    assert owner.json()["feedback"] == {
        "caller": {"thumb": 1, "note": "Kind."},
        "owner": {"thumb": -1, "note": ""},
    }


@pytest.mark.parametrize(
    "body",
    [
        b'{"thumb": 2}', b'{"note": 5}', b'{"stars": 5}', b"[]", b"",
        b'{"note": "\\u0000"}', b'{"note": "\\ud800"}',
        b'{"note": "' + b"x" * 2001 + b'"}', b'{"thumb": 1e400}',
    ],
)  # fmt: skip
async def test_what_is_no_feedback_is_refused(panel: Panel, body: bytes) -> None:
    call = held(panel)
    headers = {"Content-Type": "application/json"}
    for method, path in (
        ("PUT", f"{CALLS}/{call.id}/feedback"),
        ("POST", f"/api/v1/sessions/{call.id}/feedback"),
    ):
        answer = await panel.http.request(method, path, content=body, headers=headers)
        assert answer.status_code == 400, (path, answer.text)
    assert panel.store.sessions.get(call.id) == call


async def test_the_owner_ends_a_call_and_the_caller_is_told(panel: Panel) -> None:
    session = await panel.talk()
    job = Job(1, "agent-1")
    await panel.desk.job_began(session.id, job)
    job.gone.set()
    ended = (await panel.http.post(f"{CALLS}/{session.id}/end")).json()
    assert (ended["state"], ended["reason"]) == ("completed", "the owner ended the call")
    assert panel.rooms.notified == [(session.room_name, "ended_by_owner")]
    assert panel.rooms.deleted == [session.room_name]
    # What the caller's page asks for.
    mine = (await panel.http.get(f"/api/v1/sessions/{session.id}")).json()
    assert mine["reason"] == "the owner ended the call"
    again = await panel.http.post(f"{CALLS}/{session.id}/end")
    assert again.json()["state"] == "completed"
    assert len(noted(panel, "call.ended")) == 1


async def test_a_caller_who_hangs_up_is_not_the_owner(panel: Panel) -> None:
    session = await panel.talk()
    ended = (await panel.http.post(f"/api/v1/sessions/{session.id}/end")).json()
    assert (ended["state"], ended["reason"]) == ("completed", "")
    assert panel.rooms.notified == []


async def test_a_media_server_that_is_away_does_not_keep_the_owner_from_ending(
    panel: Panel,
) -> None:
    session = await panel.talk()
    panel.rooms.down = True
    ended = (await panel.http.post(f"{CALLS}/{session.id}/end")).json()
    assert ended["state"] == "completed"


async def test_deletion_leaves_no_word_in_any_file(panel: Panel, tmp_path: Path) -> None:
    call = held(panel, f"{CANARY}?", f"{CANARY}!")
    await panel.http.put(f"{CALLS}/{call.id}/feedback", json={"note": f"{CANARY} noted"})
    assert files_with(CANARY, tmp_path)
    gone = await panel.http.delete(f"{CALLS}/{call.id}")
    assert gone.json() == {"calls": 1, "turns": 2, "scrubbed": True}
    assert files_with(CANARY, tmp_path) == []
    (entry,) = noted(panel, "call.deleted")
    assert (entry.object, entry.result, entry.detail) == (call.id, "ok", {"turns": 2})
    assert (await panel.http.delete(f"{CALLS}/{call.id}")).status_code == 404


async def test_an_open_call_stays(panel: Panel) -> None:
    session = await panel.talk()
    refused = await panel.http.delete(f"{CALLS}/{session.id}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "call_open")
    assert noted(panel, "call.deleted")[0].result == "refused"
    assert (await panel.http.delete(CALLS, params={"all": "true"})).json()["calls"] == 0
    assert panel.store.sessions.get(session.id).is_open


async def test_deletion_of_many_must_be_said(panel: Panel) -> None:
    held(panel), held(panel)
    for params in ({}, {"all": "false"}, {"all": "true", "older_than_days": "1"},
                   {"older_than_days": "-1"}, {"older_than_days": "9" * 30}):  # fmt: skip
        assert (await panel.http.delete(CALLS, params=params)).status_code == 400
    young = await panel.http.delete(CALLS, params={"older_than_days": "1"})
    assert young.json() == {"calls": 0, "turns": 0, "scrubbed": True}
    everything = await panel.http.delete(CALLS, params={"all": "true"})
    assert everything.json() == {"calls": 2, "turns": 4, "scrubbed": True}
    assert noted(panel, "calls.deleted")[0].detail == {"calls": 2, "older_than_days": None}


@pytest.mark.parametrize(
    ("scope", "may"),
    [
        ("read", {"search", "read", "export"}),
        ("calls", set[str]()),
        ("speech", set[str]()),
        ("admin", {"search", "read", "export", "caller feedback", "judge", "end", "delete",
                   "delete all"}),
    ],
)  # fmt: skip
async def test_a_key_opens_what_its_scope_says(panel: Panel, scope: str, may: set[str]) -> None:
    call = held(panel)
    one = f"{CALLS}/{call.id}"
    acts = {
        "search": ("GET", CALLS, None), "read": ("GET", one, None),
        "export": ("GET", f"{one}/export", None),
        "caller feedback": ("POST", f"/api/v1/sessions/{call.id}/feedback", {"thumb": 1}),
        "judge": ("PUT", f"{one}/feedback", {"thumb": 1}), "end": ("POST", f"{one}/end", None),
        "delete": ("DELETE", one, None), "delete all": ("DELETE", f"{CALLS}?all=true", None),
    }  # fmt: skip
    made = await panel.http.post("/api/v1/keys", json={"name": scope, "scopes": [scope]})
    auth = {"Authorization": f"Bearer {made.json()['key']}"}
    async with stranger(panel) as client:
        answers = {
            name: (await client.request(method, path, json=body, headers=auth)).status_code
            for name, (method, path, body) in acts.items()
        }
    assert {name for name, status in answers.items() if status == 200} == may
    assert {status for name, status in answers.items() if name not in may} <= {403}
    if "read" in may:
        assert noted(panel, "call.read")[0].actor == f"key {scope}"
