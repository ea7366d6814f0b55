"""Personas over the API and on the pages: the same functions, and nothing hostile becomes markup."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from appliance.personas import Persona
from appliance.store.links import Terms
from services.panel.personas.offering import offer
from tests.panel_app import Panel, box_settings, running_panel, stranger
from tests.serving_apps import served
from tests.unit.test_panel_speech import FakeService

pytestmark = pytest.mark.unit

API = "/api/v1/personas"
ANNA: dict[str, Any] = {"name": "anna", "instructions": "You are Anna.", "title": "Anna"}
HOSTILE = "</textarea><script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


async def made(panel: Panel, **changes: Any) -> dict[str, Any]:
    answer = await panel.http.post(API, json={"persona": {**ANNA, **changes}})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def deeds(panel: Panel) -> list[tuple[str, str]]:
    rows, _more = await asyncio.to_thread(panel.store.audit.list)
    return [(row.action, row.object) for row in rows if row.action.startswith("persona.")]


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_persona_is_made_changed_renamed_cloned_and_removed(tmp_path: Path) -> None:
    async with running_panel(box_settings(tmp_path / "d")) as panel:
        first = await made(panel)
        assert (first["own"], first["is_default"], first["problem"]) == (True, False, "")
        assert code(await panel.http.post(API, json={"persona": ANNA})) == (409, "persona_exists")
        body = {"persona": {**ANNA, "greeting": "Hi."}, "version": first["version"]}
        second = (await panel.http.put(f"{API}/anna", json=body)).json()
        assert second["persona"]["greeting"] == "Hi."
        assert code(await panel.http.put(f"{API}/anna", json=body)) == (409, "persona_changed")
        body = {"persona": {**ANNA, "name": "bea"}, "version": second["version"]}
        third = (await panel.http.put(f"{API}/anna", json=body)).json()
        assert code(await panel.http.get(f"{API}/anna")) == (404, "persona_unknown")
        copy = await panel.http.post(f"{API}/bea/clone", json={"name": "cleo"})
        assert (copy.status_code, copy.json()["title"]) == (201, "Anna (copy)")
        gone = await panel.http.delete(f"{API}/bea", params={"version": third["version"]})
        assert gone.status_code == 204
        listed = (await panel.http.get(API)).json()["personas"]
        assert [one["name"] for one in listed] == ["cleo", "default"]
        assert await deeds(panel) == [
            ("persona.deleted", "bea"), ("persona.created", "cleo"), ("persona.renamed", "bea"),
            ("persona.changed", "anna"), ("persona.created", "anna"),
        ]  # fmt: skip


async def test_a_built_in_one_is_changed_by_an_own_copy(tmp_path: Path) -> None:
    async with running_panel(box_settings(tmp_path / "d")) as panel:
        builtin = (await panel.http.get(f"{API}/default")).json()
        assert (builtin["own"], builtin["is_default"]) == (False, True)
        body = {"persona": builtin["persona"], "version": builtin["version"]}
        assert code(await panel.http.put(f"{API}/default", json=body)) == (403, "persona_built_in")
        body = {"persona": builtin["persona"]}
        assert code(await panel.http.post(API, json=body)) == (409, "persona_exists")
        made_own = await panel.http.post(API, json={**body, "cover_built_in": True})
        own = made_own.json()
        assert (own["own"], own["covers_built_in"]) == (True, True)
        again = await panel.http.post(API, json={**body, "cover_built_in": True})
        assert code(again) == (409, "persona_exists")
        body = {"persona": {**own["persona"], "greeting": "Mine."}, "version": own["version"]}
        own = (await panel.http.put(f"{API}/default", json=body)).json()
        assert panel.desk.persona("default").greeting == "Mine."
        # The default is needed, but the built-in one is there again.
        gone = await panel.http.delete(f"{API}/default", params={"version": own["version"]})
        assert gone.status_code == 204
        assert panel.desk.persona("default").greeting != "Mine."
        copied = await panel.http.post(f"{API}/default/clone", json={"name": "default"})
        assert (copied.status_code, copied.json()["covers_built_in"]) == (201, True)


@pytest.mark.parametrize("user", ["call", "link", "setting"])
async def test_one_that_somebody_needs_stays(tmp_path: Path, user: str) -> None:
    settings = box_settings(tmp_path / "d", persona="anna" if user == "setting" else "default")
    async with running_panel(settings) as panel:
        version = (await made(panel))["version"]
        if user == "call":
            await panel.open(persona="anna")
        if user == "link":
            panel.store.links.create(Terms("Front door", "anna"))
            over = panel.store.links.create(Terms("Old", "anna"))
            panel.store.links.revoke(over.id)
        said = {"call": "a call that is open", "link": "“Front door”", "setting": "the setting"}
        gone = await panel.http.delete(f"{API}/anna", params={"version": version})
        assert code(gone) == (403, "persona_in_use")
        assert said[user] in gone.json()["error"]["message"]
        assert "Old" not in gone.json()["error"]["message"]
        renamed = {"persona": {**ANNA, "name": "bea"}, "version": version}
        assert code(await panel.http.put(f"{API}/anna", json=renamed)) == (403, "persona_in_use")
        assert said[user] in (await panel.http.get("/personas")).text


@pytest.mark.parametrize(
    ("changes", "status", "told"),
    [
        ({"model": "another-model"}, 403, "persona_model_not_loaded"),
        ({"voice": "no-such-voice"}, 404, "persona_voice_missing"),
        ({"name": "../x"}, 400, "bad_request"),
        ({"name": "X"}, 400, "bad_request"),
        ({"instructions": ""}, 400, "bad_request"),
        ({"instructions": "a\x00b"}, 400, "bad_request"),
        ({"barge_in": "finish_sentence"}, 400, "bad_request"),
        ({"extra": 1}, 400, "bad_request"),
        ({"sampling": {"seed": 10**30}}, 400, "bad_request"),
    ],
)
async def test_what_cannot_be_is_refused(
    tmp_path: Path, changes: dict[str, Any], status: int, told: str
) -> None:
    async with running_panel(box_settings(tmp_path / "d")) as panel:
        answer = await panel.http.post(API, json={"persona": {**ANNA, **changes}})
        assert code(answer) == (status, told)
        lone = await panel.http.post(
            API, content=b'{"persona": {"name": "x", "instructions": "\\ud800"}}',
            headers={"Content-Type": "application/json"},
        )  # fmt: skip
        assert code(lone) == (400, "bad_request")
        assert len((await panel.http.get(API)).json()["personas"]) == 1


async def test_a_file_is_taken_out_and_brought_in(tmp_path: Path) -> None:
    async with running_panel(box_settings(tmp_path / "d")) as panel:
        await made(panel, instructions="Line one.\nLine two: yes.")
        taken = await panel.http.get(f"{API}/anna/yaml")
        assert taken.headers["content-type"] == "application/yaml"
        assert taken.headers["content-disposition"] == 'attachment; filename="anna.yaml"'
        assert yaml.safe_load(taken.text)["instructions"] == "Line one.\nLine two: yes."
        body = {"yaml": taken.text}
        assert code(await panel.http.post(f"{API}/import", json=body)) == (409, "persona_exists")
        other = await panel.http.post(f"{API}/import", json={**body, "name": "bea"})
        assert (other.status_code, other.json()["name"]) == (201, "bea")
        assert other.json()["persona"]["instructions"] == "Line one.\nLine two: yes."
        again = await panel.http.post(f"{API}/import", json={**body, "replace": True})
        assert again.status_code == 201
        for wrong in ("[", "a: &a [1]\nb: *a", "name: x\n"):
            answer = await panel.http.post(f"{API}/import", json={"yaml": wrong})
            assert answer.status_code == 400, wrong


async def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    async with running_panel(box_settings(tmp_path / "d")) as panel:
        example = {"user": HOSTILE, "assistant": HOSTILE}
        await made(
            panel, title=HOSTILE[:100], instructions=HOSTILE, greeting=HOSTILE, examples=[example]
        )
        folder = tmp_path / "d" / "personas"
        (folder / "bad.yaml").write_text(yaml.safe_dump({"name": HOSTILE, "instructions": "x"}))
        (folder / "<script>.yaml").write_text("name: x")
        for path in ("/personas", "/personas/anna", "/personas/bad"):
            page = await panel.http.get(path)
            assert page.status_code == 200
            assert "<script>" not in page.text
            assert "<img src=x" not in page.text
            assert "style=" not in page.text


async def test_the_form_offers_what_there_is(tmp_path: Path) -> None:
    async with running_panel(box_settings(tmp_path / "d")) as panel:
        page = (await panel.http.get("/personas/default")).text
        for offered in (
            "en_US-joe-medium",
            "smollm2-135m-instruct",
            *(f'value="{manner}"' for manner in ("stop", "finish", "ignore", "resume")),
            'value="de"',
        ):
            assert offered in page
        assert "Save as my own copy" in page
        assert (await panel.http.get("/personas/nobody")).status_code == 404


async def test_only_english_is_offered_to_an_english_ear(tmp_path: Path) -> None:
    settings = box_settings(tmp_path / "d", stt={"model": "whisper-tiny.en"})
    async with running_panel(settings) as panel:
        page = (await panel.http.get("/personas/default")).text
        assert 'value="en"' in page
        assert 'value="de"' not in page
        assert "understands no other" in page


async def test_an_unsaved_persona_answers_by_text(tmp_path: Path) -> None:
    settings = box_settings(tmp_path / "d")
    settings.run_dir.mkdir(parents=True)
    llm = FakeService("tiny")
    llm.go.set()
    async with served(llm.app, settings.socket("llm")), running_panel(settings) as panel:
        persona = {**ANNA, "examples": [{"user": "a", "assistant": "b"}], "name": "not-kept"}
        talk = [{"role": "user", "content": "Who are you?"}]
        answer = await panel.http.post(f"{API}/test", json={"persona": persona, "messages": talk})
        assert (answer.status_code, answer.text) == (200, "data: one\n\ndata: two\n\n")
        assert llm.headers["x-earshot-priority"] == "background"
        assert llm.body["messages"] == [
            {"role": "system", "content": "You are Anna."}, {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"}, *talk,
        ]  # fmt: skip
        assert llm.body["stream"] is True
        assert llm.body["max_tokens"] == 64
        assert [one["name"] for one in (await panel.http.get(API)).json()["personas"]] == [
            "default"
        ]
        assert await deeds(panel) == []
        refused = {**persona, "model": "another"}
        answer = await panel.http.post(f"{API}/test", json={"persona": refused, "messages": talk})
        assert code(answer) == (403, "persona_model_not_loaded")


async def test_who_may_read_may_not_change(tmp_path: Path) -> None:
    async with running_panel(box_settings(tmp_path / "d")) as panel, stranger(panel) as nobody:
        assert code(await nobody.get(API)) == (401, "not_signed_in")
        assert (await nobody.get("/personas")).status_code == 303


def test_a_value_that_the_box_lacks_stays_and_is_explained(tmp_path: Path) -> None:
    persona = Persona(**ANNA, model="gone", voice="away", language="xx")
    offered = offer(box_settings(tmp_path / "d"), persona)
    refused = {
        choice.value: choice.refused
        for choice in [*offered.models, *offered.voices, *offered.languages]
        if choice.refused
    }
    assert refused == {
        "gone": "not installed", "away": "not installed", "xx": "not understood by the ear",
    }  # fmt: skip
    elsewhere: Any = {"llm": {"url": "http://10.0.0.2/v1"}, "tts": {"url": "http://10.0.0.3"}}
    offered = offer(box_settings(tmp_path / "d", **elsewhere), persona)
    assert (offered.models, offered.voices) == ([], [])


def test_a_model_that_is_here_but_not_loaded_cannot_be_chosen(tmp_path: Path) -> None:
    settings = box_settings(tmp_path / "d", llm={"model": "another"})
    loaded = next(one for one in offer(settings, Persona(**ANNA)).models)
    assert loaded.value == "smollm2-135m-instruct"
    assert "not loaded" in loaded.refused
