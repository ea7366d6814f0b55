"""The settings page and its API: shown with their source, tried, saved once, never a secret."""

from __future__ import annotations

import os
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.setting_effects import FIXED
from appliance.settings import setting_names
from appliance.supervision import ProcessInfo
from services.panel.settings_page.fields import group_views
from services.panel.settings_page.form import changes_of
from services.panel.settings_page.keeper import Keeper
from services.panel.settings_page.waiting import WaitingList
from tests.panel_app import Panel, box_settings, running_panel, until

pytestmark = pytest.mark.unit

SETTINGS = "/api/v1/settings"
SECRET = "canary-secret-0123456789-0123456789-0123456789"
OWNERS = f"""\
# ours
persona = "default" # the clerk

[livekit]
api_key = "APIours"
api_secret = "{SECRET}"

[llm]
url = "http://user:canary-password@10.0.0.9:8000/v1"

[agent]
seats = 2
"""


class FakeSupervisor:
    """Programs that were started at some moment; restarts are noted."""

    def __init__(self) -> None:
        self.uptime_s = 1000
        self.restarted: list[str] = []

    def processes(self) -> dict[str, ProcessInfo]:
        """Every program runs."""
        names = ("stt", "llm", "tts", "agent", "panel")
        return {name: ProcessInfo(name, "RUNNING", 1, self.uptime_s, "") for name in names}

    async def check(self, name: str) -> None:
        """All can be."""

    async def restart(self, name: str) -> None:
        """Note it."""
        self.restarted.append(name)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("APPLIANCE_", "LIVEKIT_", "WHISPER_")):
            monkeypatch.delenv(name)


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """A panel whose owner has written a settings.toml."""
    settings = box_settings(tmp_path)
    settings.run_dir.mkdir()
    settings.settings_file.write_text(OWNERS)
    async with running_panel(settings) as running:
        supervisor: Any = FakeSupervisor()
        running.app.state.supervisor = supervisor
        running.app.state.keeper = Keeper(settings, WaitingList(settings, supervisor))
        running.app.state.restarts = supervisor
        yield running


def _file(panel: Panel) -> str:
    path: Path = panel.app.state.settings.settings_file
    return path.read_text()


async def _look(panel: Panel) -> dict[str, Any]:
    answer = await panel.http.get(SETTINGS)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def _one(panel: Panel, name: str) -> dict[str, Any]:
    groups = (await _look(panel))["groups"]
    return next(one for group in groups for one in group["settings"] if one["name"] == name)


async def test_every_setting_is_shown_with_its_help_and_what_it_restarts(panel: Panel) -> None:
    views = [one for group in (await _look(panel))["groups"] for one in group["settings"]]
    assert sorted(one["name"] for one in views) == sorted(setting_names())
    assert all(one["help"] and one["label"] and one["restarts"] for one in views)
    assert {one["name"] for one in views if not one["editable"]} == set(FIXED) - {"llm.model"}
    page = (await panel.http.get("/settings")).text
    assert all(f'data-setting="{name}"' in page for name in setting_names())


async def test_no_answer_has_a_secret_or_a_password_in_it(panel: Panel) -> None:
    version = (await _look(panel))["version"]
    change = {"changes": {"livekit.api_secret": SECRET + "2", "agent.seats": 3}}
    answers = [
        await panel.http.get(SETTINGS),
        await panel.http.get("/settings"),
        await panel.http.get(f"{SETTINGS}/export"),
        await panel.http.post(f"{SETTINGS}/preview", json=change),
        await panel.http.post("/settings/review", data={"livekit.api_secret": SECRET + "2"}),
        await panel.http.patch(SETTINGS, json={**change, "version": version}),
        await panel.http.get(SETTINGS),
    ]
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    assert not [answer.url for answer in answers if "canary" in answer.text]
    assert SECRET + "2" in _file(panel)


async def test_where_a_value_comes_from(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEKIT_ROOM_NAME", "hall")
    assert (await _one(panel, "agent.seats"))["source"] == "file"
    assert (await _one(panel, "agent.drain_s"))["source"] == "default"
    found = await _one(panel, "livekit.room_name")
    assert (found["source"], found["editable"]) == ("environment", False)
    assert "LIVEKIT_ROOM_NAME" in found["why_fixed"]
    wanted = {"changes": {"livekit.room_name": "other"}}
    answer = (await panel.http.post(f"{SETTINGS}/preview", json=wanted)).json()
    assert answer["problems"][0]["code"] == "setting_from_environment"
    assert (await _one(panel, "livekit.api_secret"))["value"] is None


async def test_a_preview_says_what_changes_and_what_restarts(panel: Panel) -> None:
    wanted = {"changes": {"agent.seats": "5", "access.idle_s": "600", "persona": "default"}}
    found = (await panel.http.post(f"{SETTINGS}/preview", json=wanted)).json()
    assert [(one["name"], one["before"], one["after"]) for one in found["changes"]] == [
        ("agent.seats", "2", "5"),
        ("access.idle_s", "1800 (default)", "600"),
    ]
    assert found["restarts"] == ["llm", "agent", "panel"]
    assert found["keeps_comments"]
    assert not found["problems"]
    assert _file(panel) == OWNERS


@pytest.mark.parametrize(
    ("changes", "name", "code"),
    [
        ({"agent.seats": 65}, "agent.seats", "setting_invalid"),
        ({"agent.seets": 1}, "agent.seets", "setting_unknown"),
        ({"agent": "x"}, "agent", "setting_unknown"),
        ({"persona": "nobody-here"}, "persona", "persona_unknown"),
        ({"livekit.api_secret": "short"}, "livekit.api_secret", "weak_livekit_keys"),
        ({"livekit.node_ip": "my-box"}, "livekit.node_ip", "address_invalid"),
        ({"livekit.port": 7881}, "livekit.port", "port_twice"),
        ({"stt.model": "x"}, "stt.model", "setting_fixed"),
        ({"llm.context_tokens": 131072}, "llm.context_tokens", "setting_fixed"),
        ({"stt.compute_type": "int7"}, "stt.compute_type", "setting_invalid"),
    ],
)
async def test_what_cannot_be_is_told_beside_its_name_and_not_saved(
    panel: Panel, changes: dict[str, Any], name: str, code: str
) -> None:
    found = (await panel.http.post(f"{SETTINGS}/preview", json={"changes": changes})).json()
    assert [(one["name"], one["code"]) for one in found["problems"]] == [(name, code)]
    body = {"changes": changes, "version": found["version"]}
    assert (await panel.http.patch(SETTINGS, json=body)).status_code == 400
    assert _file(panel) == OWNERS


async def test_the_model_of_another_server_is_named_and_goes_with_it(panel: Panel) -> None:
    assert (await _one(panel, "llm.model"))["editable"]
    assert not (await _one(panel, "tts.voice"))["editable"]
    # An address and a name may be new together.
    changes = {"llm.model": "qwen", "tts.url": "http://10.0.0.9/v1", "tts.voice": "af_sky"}
    body = {"changes": changes, "version": (await _look(panel))["version"]}
    saved = await panel.http.patch(SETTINGS, json=body)
    assert saved.status_code == 200
    assert 'model = "qwen"' in _file(panel)
    assert 'voice = "af_sky"' in _file(panel)
    named = {one["name"]: one["restarts"] for one in saved.json()["changes"]}
    assert named["llm.model"] == ["agent", "panel"]
    assert "af_sky" in (await panel.http.get(f"{SETTINGS}/export")).text
    # The box's own voices know nothing of that name.
    body = {"changes": {"tts.url": None}, "version": saved.json()["version"]}
    given_up = await panel.http.patch(SETTINGS, json=body)
    assert [one["name"] for one in given_up.json()["changes"]] == ["tts.voice", "tts.url"]
    assert "af_sky" not in _file(panel)
    assert not (await _one(panel, "tts.voice"))["editable"]


async def test_saving_is_whole_noted_and_waits_for_its_restart(panel: Panel) -> None:
    version = (await _look(panel))["version"]
    body = {"changes": {"agent.seats": 5, "persona": None}, "version": version}
    saved = await panel.http.patch(SETTINGS, json=body)
    assert saved.status_code == 200
    assert _file(panel) == OWNERS.replace("seats = 2", "seats = 5").replace(
        'persona = "default" # the clerk\n', ""
    )
    again = await panel.http.patch(SETTINGS, json=body)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "settings_changed")
    waiting = (await panel.http.get(f"{SETTINGS}/waiting")).json()
    assert (waiting["settings"], waiting["programs"]) == (
        ["agent.seats"],
        ["llm", "agent", "panel"],
    )
    rows, _total = panel.store.audit.list(limit=10)
    row = next(row for row in rows if row.action == "settings.changed")
    assert row.detail["names"] == ["agent.seats", "persona"]


async def test_programs_that_started_since_wait_no_more(panel: Panel) -> None:
    version = (await _look(panel))["version"]
    body = {"changes": {"agent.max_call_s": 600}, "version": version}
    await panel.http.patch(SETTINGS, json=body)
    assert (await panel.http.get(f"{SETTINGS}/waiting")).json()["programs"] == ["panel"]
    panel.app.state.supervisor.uptime_s = -5
    assert (await panel.http.get(f"{SETTINGS}/waiting")).json()["settings"] == []


async def test_restarts_happen_in_order_the_panel_last(panel: Panel) -> None:
    answer = await panel.http.post(
        f"{SETTINGS}/restart", json={"programs": ["panel", "llm", "stt"]}
    )
    assert (answer.status_code, answer.json()["programs"]) == (202, ["stt", "llm", "panel"])
    supervisor = panel.app.state.supervisor
    await until(lambda: supervisor.restarted == ["stt", "llm", "panel"])


@pytest.mark.parametrize(
    ("programs", "code"), [(["box"], "whole_box"), (["livekit"], "program_unknown")]
)
async def test_what_carries_calls_is_not_restarted_from_the_page(
    panel: Panel, programs: list[str], code: str
) -> None:
    answer = await panel.http.post(f"{SETTINGS}/restart", json={"programs": programs})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert panel.app.state.supervisor.restarted == []


async def test_an_export_comes_in_again_without_a_change(panel: Panel) -> None:
    text = (await panel.http.get(f"{SETTINGS}/export")).text
    assert "# Left out: livekit.api_secret" in text
    assert "seats = 2" in text
    found = (await panel.http.post(f"{SETTINGS}/import/preview", json={"text": text})).json()
    assert (found["changes"], found["problems"]) == ([], [])


async def test_an_import_is_judged_whole_and_keeps_secrets(panel: Panel) -> None:
    preview = f"{SETTINGS}/import/preview"
    for text, status, code in [
        ("seats = = 1", 400, "settings_unreadable"),
        ("seats = " + "9" * 5000, 400, "settings_unreadable"),
        ("seats = " + "[" * 30_000, 400, "settings_unreadable"),
        ("\ufeff[agent]\nseats = 99", 200, "setting_invalid"),
        ("[agent]\nseats = 99\n[tts]\ngain = 2.0", 200, "setting_invalid"),
        ("sats = 1", 200, "setting_unknown"),
        ('data_dir = "/elsewhere"', 200, "setting_fixed"),
    ]:
        answer = await panel.http.post(preview, json={"text": text})
        assert answer.status_code == status
        found = answer.json()
        assert code in (
            found.get("error", {}).get("code"),
            *(p["code"] for p in found.get("problems", [])),
        )
    text = "[tts]\ngain = 2.0\n"
    found = (await panel.http.post(preview, json={"text": text})).json()
    changed = {one["name"]: one["after"] for one in found["changes"]}
    assert changed == {
        "tts.gain": "2.0",
        "persona": "default (default)",
        "agent.seats": "0 (default)",
    }
    body = {"text": text, "version": found["version"]}
    assert (await panel.http.post(f"{SETTINGS}/import", json=body)).status_code == 200
    assert SECRET in _file(panel)
    assert "canary-password" in _file(panel)
    assert "seats" not in _file(panel)
    assert "gain = 2.0" in _file(panel)


async def test_a_broken_file_is_shown_and_left_alone(panel: Panel) -> None:
    path: Path = panel.app.state.settings.settings_file
    path.write_text(f'[livekit]\napi_secret = "{SECRET}\n')
    page = await panel.http.get("/settings")
    assert page.status_code == 200
    assert "not valid TOML" in page.text
    assert "line 2" in page.text
    assert "canary" not in page.text
    assert "Review changes" not in page.text
    body = {"changes": {"agent.seats": 3}, "version": ""}
    assert (await panel.http.patch(SETTINGS, json=body)).status_code == 409
    assert (await panel.http.get(f"{SETTINGS}/export")).status_code == 409
    path.write_text("[agent]\nsets = 3\n")
    assert "There is no setting &#39;agent.sets&#39;" in (await panel.http.get("/settings")).text


async def test_the_form_sends_only_what_is_different(panel: Panel) -> None:
    settings = panel.app.state.settings
    groups = group_views(settings, {"agent.seats": 2, "tts.gain": 1.5}, {})
    shown = {
        one.name: "\n".join(one.value)
        if isinstance(one.value, list)
        else ("" if one.value is None else str(one.value))
        for group in groups
        for one in group.settings
        # A browser sends nothing for a switch that is off.
        if one.kind != "secret" and not (one.kind == "switch" and not one.value)
    }
    assert changes_of(shown, groups) == {}
    form = {
        **shown, "agent.seats": " 3 ", "tts.gain": "1", "front.cors_origins": "http://a:1\n\nhttp://b:2 ",
        "agent.barge_in_after_s": "0,5", "livekit.api_secret": "", "data_dir": "/elsewhere",
    }  # fmt: skip
    assert changes_of(form, groups) == {
        "agent.seats": "3", "tts.gain": None, "front.cors_origins": ["http://a:1", "http://b:2"],
        "agent.barge_in_after_s": "0.5",
    }  # fmt: skip
    assert changes_of({**shown, "forget:livekit.api_secret": "on"}, groups) == {
        "livekit.api_secret": None
    }


async def test_the_page_s_form_saves_and_says_so(panel: Panel) -> None:
    page = (await panel.http.get("/settings")).text
    version = re.search(r'name="version" value="(\w+)"', page)
    assert version
    # A browser sends the switches that are on.
    form = {"version": version[1], "agent.seats": "4", "llm.no_thinking": "on"}
    review = await panel.http.post("/settings/review", data=form)
    assert "Save 1 change?" in review.text
    assert "<del>2</del>" in review.text
    wrong = await panel.http.post("/settings/review", data={**form, "agent.seats": "<b>"})
    assert "data-problems" in wrong.text
    assert "<b>" not in wrong.text
    saved = await panel.http.post("/settings/save", data=form)
    assert (saved.status_code, saved.headers["HX-Redirect"]) == (204, "/settings?saved=true")
    assert "seats = 4" in _file(panel)
    after = (await panel.http.get("/settings?saved=true")).text
    assert "To be restarted: language model, call agent, control panel." in after
    late = await panel.http.post("/settings/save", data={**form, "agent.seats": "6"})
    assert late.status_code == 409


async def test_what_a_file_asks_of_old_programs_outlives_the_panel(panel: Panel) -> None:
    settings = panel.app.state.settings
    kept = WaitingList(settings, panel.app.state.supervisor)
    kept.add(["front.http_port"])
    found = WaitingList(settings, panel.app.state.supervisor).look()
    assert (found.settings, found.programs) == (["front.http_port"], ["box"])
    conf = settings.run_dir / "supervisord.conf"
    conf.touch()
    os.utime(conf, (time.time() + 5, time.time() + 5))
    assert kept.look().settings == []
