"""The doctor in the panel: checks with deadlines, digests, a test room, the loop, and a clean bundle."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance import checks
from appliance.catalogue import Catalogue
from appliance.checks import clock, disk_space
from appliance.checks.finding import Finding, ok
from appliance.secrets import livekit_keys, local_token
from appliance.settings import Settings
from appliance.store.links import Terms
from services.panel.doctor.checking import Checkups
from services.panel.doctor.digests import DigestCheck
from services.panel.doctor.loop import QUESTION
from tests.panel_app import Panel, box_settings, running_panel, until

pytestmark = pytest.mark.unit

DOCTOR = "/api/v1/doctor"
CANARY = "canary"


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """A panel with a data folder of its own."""
    # Without the embedded models, whose bytes the checks would read each time.
    settings = box_settings(
        tmp_path,
        builtin_models_dir=tmp_path / "none",
        llm={"url": "http://x"},
        tts={"url": "http://x"},
        stt={"url": "http://x"},
    )
    settings.run_dir.mkdir()
    async with running_panel(settings) as running:
        yield running


async def test_every_check_answers_with_what_to_do(panel: Panel) -> None:
    found = (await panel.http.get(DOCTOR)).json()
    assert [one["name"] for one in found["checks"]] == list(checks.NAMES)
    assert all(one["message"] and one["checks"] for one in found["checks"])
    assert all(one["hint"] for one in found["checks"] if one["state"] != "ok")
    assert found["ok"] == all(one["state"] != "fail" for one in found["checks"])
    page = await panel.http.get("/doctor/box")
    assert all(f'data-check="{name}"' in page.text for name in checks.NAMES)
    assert (await panel.http.get("/doctor")).status_code == 200


async def test_a_check_that_hangs_keeps_nobody_waiting_and_one_that_breaks_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()

    def hangs(_settings: Settings) -> Finding:
        let_go.wait(30)
        return ok("late")

    def breaks(_settings: Settings) -> Finding:
        raise RuntimeError("canary")

    monkeypatch.setattr(clock, "look", hangs)
    monkeypatch.setattr(disk_space, "look", breaks)
    try:
        found = await Checkups(box_settings(tmp_path), deadline_s=5).look()
    finally:
        let_go.set()
    said = {one.name: one for one in found.checks}
    assert said["clock"].state == said["disk_space"].state == "fail"
    assert "no answer" in said["clock"].message
    assert said["socket_paths"].state == "ok"
    assert CANARY not in found.model_dump_json()


async def test_digests_are_compared_in_the_background(tmp_path: Path) -> None:
    settings = box_settings(tmp_path, builtin_models_dir=tmp_path / "none")
    damaged = Catalogue(settings).entry("en_US-joe-medium")
    for file in damaged.files:
        path = settings.models_path / damaged.id / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not what it should be")
    check = DigestCheck(settings)
    assert check.state().state == "idle"
    assert check.start().state == "running"
    await until(lambda: check.state().state == "done")
    done = check.state()
    assert done.problem == ""
    assert done.done_bytes == done.total_bytes
    assert [(one.id, one.state) for one in done.models] == [(damaged.id, "damaged")]
    assert "pull en_US-joe-medium" in done.models[0].hint


async def test_a_test_room_takes_no_seat_and_there_are_only_so_many(panel: Panel) -> None:
    made = [(await panel.http.post(f"{DOCTOR}/rooms")).json() for _ in range(8)]
    assert len({one["room_name"] for one in made}) == 8
    assert panel.store.sessions.list(10) == []
    assert panel.rooms.dispatches == []
    full = await panel.http.post(f"{DOCTOR}/rooms")
    assert (full.status_code, full.json()["error"]["code"]) == (503, "not_ready")
    name = made[0]["room_name"]
    assert (await panel.http.delete(f"{DOCTOR}/rooms/{name}")).status_code == 204
    assert name in panel.rooms.deleted
    session = await panel.talk()
    other = await panel.http.delete(f"{DOCTOR}/rooms/{session.room_name}")
    assert other.status_code == 400
    assert session.room_name in panel.rooms.rooms


class FakeModels:
    """stt and tts behind the panel's clients."""

    def __init__(self, panel: Panel) -> None:
        self.heard = "What time is it?"
        self.refuse: dict[str, int] = {}
        self.asked: list[tuple[str, bytes]] = []
        for service in ("stt", "tts"):
            client = httpx.AsyncClient(
                transport=httpx.MockTransport(self._answer), base_url=f"http://{service}"
            )
            panel.app.state.services._clients[service] = client

    def _answer(self, request: httpx.Request) -> httpx.Response:
        service = request.url.host
        self.asked.append((service, request.content))
        assert request.headers["x-earshot-priority"] == "background"
        if service in self.refuse:
            error = {"message": f"{service} says no.", "hint": "Ask otherwise."}
            return httpx.Response(self.refuse[service], json={"error": error})
        if service == "stt":
            return httpx.Response(200, json={"text": self.heard})
        return httpx.Response(200, content=b"RIFFsound")


async def test_what_is_spoken_is_heard_and_said_again(panel: Panel) -> None:
    models = FakeModels(panel)
    found = (await panel.http.post(f"{DOCTOR}/loop", content=b"RIFFspoken")).json()
    assert found["heard"] == models.heard
    assert [step["state"] for step in found["steps"]] == ["ok", "ok"]
    assert found["sound_base64"] == "UklGRnNvdW5k"
    assert b"RIFFspoken" in models.asked[0][1]
    assert json.loads(models.asked[1][1])["input"] == f"I heard: {models.heard}"
    await panel.http.post(f"{DOCTOR}/loop?sample=true")
    assert QUESTION.read_bytes() in models.asked[2][1]


async def test_each_part_of_the_loop_that_fails_says_so_itself(panel: Panel) -> None:
    models = FakeModels(panel)
    models.heard = ""
    silent = (await panel.http.post(f"{DOCTOR}/loop", content=b"x")).json()
    assert [step["state"] for step in silent["steps"]] == ["warn", "ok"]
    models.refuse = {"tts": 503}
    mute = (await panel.http.post(f"{DOCTOR}/loop", content=b"x")).json()
    assert (mute["steps"][1]["message"], mute["sound_base64"]) == ("tts says no.", "")
    models.refuse = {"stt": 400}
    deaf = (await panel.http.post(f"{DOCTOR}/loop", content=b"x")).json()
    assert [step["message"] for step in deaf["steps"]] == ["stt says no."]
    assert all(step["hint"] for step in (silent["steps"][0], mute["steps"][1], deaf["steps"][0]))
    empty = await panel.http.post(f"{DOCTOR}/loop")
    assert (empty.status_code, empty.json()["error"]["code"]) == (400, "audio_missing")
    long = await panel.http.post(f"{DOCTOR}/loop", content=b"x" * (600 << 10))
    assert long.status_code == 413


def _write_logs(settings: Settings, secrets: list[str]) -> None:
    logs = settings.data_dir / "logs"
    logs.mkdir(exist_ok=True)
    lines: list[dict[str, Any] | str] = [
        {"event": "turn", "text": f"{CANARY} spoken", "level": "info"},
        {"event": "asked", "nested": {"transcript": f"{CANARY} nested"}},
        {"event": "joined", "participant": "Berta Canary-Person", "room": "call-1"},
        {"event": "by link", "link": "Canary Waiting Room"},
        {
            "msg": "joined",
            "room": 'Canary\'s "Room" 7',
            "participantInit": {"Identity": "canary-1970"},
        },
        'Disconnected from room "Canary\'s \\"Room\\" 7"; canary-1970 left',
        {"msg": "joined", "room": f"call-{'0' * 16}", "participant": "guest-0123456789ab"},
        "GET /rtc?access_token=eyJhbGciOi.eyJjYW5hcnki.canary",
        "Traceback: key earshot_canary0123456789abcdef",
        *(f"plain {secret} text" for secret in secrets),
        {"event": "harmless thing"},
    ]
    text = "".join(f"{json.dumps(one) if isinstance(one, dict) else one}\n" for one in lines)
    (logs / "agent.log").write_text(text)


async def test_the_bundle_has_what_helps_and_no_secret_no_word_no_name(panel: Panel) -> None:
    settings: Settings = panel.app.state.settings
    settings.settings_file.write_text(
        '[livekit]\napi_key = "APIcanary"\napi_secret = "canary-secret-0123456789-0123456789-01"\n'
        '[llm]\nurl = "http://user:canary-pass@10.0.0.9/v1"\napi_key = "canary-key-for-the-llm"\n'
        "[agent]\nseats = 3\n"
    )
    await panel.open(caller_name="Berta Canary-Person")
    panel.store.links.create(Terms(name="Canary Waiting Room", persona="default"))
    keys = livekit_keys(settings)
    secrets = [keys.api_secret, keys.api_key, local_token(settings)]
    _write_logs(settings, secrets)
    answer = await panel.http.get(f"{DOCTOR}/bundle")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as bundle:
        files = {name: bundle.read(name).decode() for name in bundle.namelist()}
    assert {"README.txt", "doctor.json", "status.json", "versions.json", "settings.toml",
            "host.json", "logs/agent.log"} <= set(files)  # fmt: skip
    found = [name for name, text in files.items() if CANARY in text.lower()]
    # The check of the file's own text may be named; its values may not.
    assert found == []
    assert not [name for name, text in files.items() if any(secret in text for secret in secrets)]
    assert "harmless thing" in files["logs/agent.log"]
    assert f"call-{'0' * 16}" in files["logs/agent.log"]
    assert "guest-0123456789ab" in files["logs/agent.log"]
    assert "seats = 3" in files["settings.toml"]
    assert json.loads(files["versions.json"])["earshot"]
    assert {one["name"] for one in json.loads(files["doctor.json"])["checks"]} == set(checks.NAMES)
    rows, _total = panel.store.audit.list(actions=("bundle.",))
    assert [row.action for row in rows] == ["bundle.exported"]


async def test_a_bundle_is_had_also_with_broken_settings(panel: Panel) -> None:
    settings: Settings = panel.app.state.settings
    settings.settings_file.write_text('x = "canary\n')
    answer = await panel.http.get(f"{DOCTOR}/bundle")
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as bundle:
        assert "not valid TOML" in bundle.read("settings.toml").decode()
