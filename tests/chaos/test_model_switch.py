"""Models change under a live call: the talk goes on, bad ones are rolled back, the panel may die."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from appliance.calling import Caller, TurnReport
from appliance.catalogue import Catalogue
from appliance.headset import Clip
from tests import ggufs
from tests.box import Box
from tests.recordings import DATA, error_rate
from tests.results import note

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

QUESTIONS = {
    entry["file"].removesuffix(".flac"): entry["text"]
    for entry in json.loads((DATA / "questions" / "manifest.json").read_text(encoding="utf-8"))
}
SWITCH = "/api/v1/models/switch"
# Three times the minute that a switch with its way back may take.
SWITCH_S = 180.0


class Owner:
    """Somebody who changes models on the page, here through its API."""

    def __init__(self, box: Box) -> None:
        self._http = httpx.AsyncClient(
            base_url=box.url, headers={"Authorization": f"Bearer {box.token}"}, timeout=30,
            trust_env=False,
        )  # fmt: skip

    async def begin(self, task: str, model: str, **more: Any) -> None:
        """Begin a switch."""
        answer = await self._http.post(SWITCH, json={"task": task, "model": model, **more})
        assert answer.status_code == 202, answer.text

    async def change(self, task: str, model: str, **more: Any) -> dict[str, Any]:
        """Make a switch and see how it ends."""
        await self.begin(task, model, **more)
        return await self.finished()

    async def ask(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """Anything else about models."""
        answer = await self._http.request(method, f"/api/v1/models{path}", json=body or None)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def state(self) -> dict[str, Any]:
        """The latest switch; empty while the panel is away."""
        try:
            answer = await self._http.get(SWITCH)
            found: dict[str, Any] = answer.json() if answer.is_success else {}
        except (httpx.HTTPError, ValueError):
            return {}
        return found

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the switch is so."""
        deadline = time.monotonic() + SWITCH_S
        while not (state := await self.state()) or not holds(state):
            assert time.monotonic() < deadline, state
            await asyncio.sleep(0.05)
        return state

    async def finished(self) -> dict[str, Any]:
        """Wait for the switch's end."""
        return await self.until(lambda state: state["finished"])

    async def new_call(self) -> httpx.Response:
        """Ask for one more call."""
        return await self._http.post("/api/v1/sessions", json={})

    async def close(self) -> None:
        """Leave."""
        await self._http.aclose()


@pytest_asyncio.fixture
async def owner(box: Box) -> AsyncIterator[Owner]:
    """The owner; afterwards the models are those of the settings again."""
    await asyncio.to_thread(box.wait_ready)
    found = Owner(box)
    yield found
    await found.close()


@pytest_asyncio.fixture
async def caller(box: Box, owner: Owner) -> AsyncIterator[Caller]:
    """A caller who has been greeted and had one question answered."""
    calling = Caller(box.url, token=box.token)
    try:
        await calling.join()
        await calling.greeting()
        understood(await ask(calling, "france"), "france")
        yield calling
    finally:
        await calling.leave()


async def ask(caller: Caller, name: str) -> TurnReport:
    """Speak a question and wait for its answer, through a switch too."""
    return await caller.ask(Clip.read(DATA / "questions" / f"{name}.flac"), timeout_s=90)


def understood(report: TurnReport, name: str) -> None:
    """The question was heard and answered, with a misheard word or two."""
    assert error_rate([QUESTIONS[name]], [report.heard]) <= 0.5, report
    assert report.complete, report


def seconds(state: dict[str, Any]) -> float:
    """How long the switch took."""
    steps = [
        time.mktime(time.strptime(step["at"][:19], "%Y-%m-%dT%H:%M:%S")) for step in state["steps"]
    ]
    return steps[-1] - steps[0]


async def test_ears_change_under_a_live_call_and_a_killed_panel(
    box: Box, owner: Owner, caller: Caller
) -> None:
    await owner.begin("stt", "whisper-tiny.en")
    await owner.until(lambda state: state["state"] in ("stopping", "starting"))
    refused = await owner.new_call()
    assert refused.status_code == 503, refused.text
    assert refused.json()["error"]["code"] == "not_ready"
    understood(await ask(caller, "week"), "week")
    state = await owner.finished()
    assert state["state"] == "committed", state
    note("ears changed under a call", seconds=seconds(state), steps=state["steps"])
    assert any(one["code"] == "models_changing" for one in caller.notices), caller.notices
    assert Catalogue(box.settings).selected("stt") == "whisper-tiny.en"
    understood(await ask(caller, "japan"), "japan")

    await owner.begin("stt", "whisper-base")
    await owner.until(lambda state: state["state"] == "starting")
    box.kill("panel")
    understood(await ask(caller, "sky"), "sky")
    state = await owner.finished()
    assert state["state"] == "committed", state
    assert Catalogue(box.settings).selected("stt") == "whisper-base"
    understood(await ask(caller, "italy"), "italy")
    assert len(caller.room.remote_participants) == 1


async def test_broken_models_are_rolled_back_under_a_live_call(
    box: Box, owner: Owner, caller: Caller
) -> None:
    good = Catalogue(box.settings).installed("llm", "smollm2-135m-instruct").files["model"]
    models = box.settings.models_path
    for name, damage in (("noise", ggufs.scrambled), ("half", ggufs.truncated)):
        (models / name).mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(damage, good, models / name / f"{name}.gguf")

    await owner.begin("llm", "half")
    state = await owner.finished()
    assert [step["state"] for step in state["steps"]] == ["checking", "rolled_back"], state
    assert "not whole" in state["reason"]

    await owner.begin("llm", "noise")
    await owner.until(lambda state: state["state"] in ("starting", "canary", "rolled_back"))
    understood(await ask(caller, "week"), "week")
    state = await owner.finished()
    assert state["state"] == "rolled_back", state
    assert "starting" in [step["state"] for step in state["steps"]]
    assert state["reason"]
    note("a broken model rolled back under a call", seconds=seconds(state), reason=state["reason"])
    assert Catalogue(box.settings).selected("llm") == "smollm2-135m-instruct"
    understood(await ask(caller, "japan"), "japan")


async def test_a_context_and_a_voice_are_tried_like_models(box: Box, owner: Owner) -> None:
    mind = "smollm2-135m-instruct"
    state = await owner.change("llm", mind, context_tokens=1024)
    assert state["state"] == "committed", state
    note("context changed", seconds=seconds(state))
    assert (await owner.ask("GET", "/room"))["context_tokens"] == 1024
    assert "context_tokens = 1024" in box.settings.settings_file.read_text()
    state = await owner.change("llm", mind, context_tokens=4096)
    assert state["state"] == "committed", state

    joe = Catalogue(box.settings).installed("tts", "en_US-joe-medium")
    copy = box.settings.models_path / "twin"
    copy.mkdir(parents=True, exist_ok=True)
    for role, end in (("model", "onnx"), ("config", "onnx.json")):
        (copy / f"twin.{end}").write_bytes(joe.files[role].read_bytes())
    state = await owner.change("tts", "twin")
    assert state["state"] == "rolled_back", state
    assert "licence" in state["reason"]
    await owner.ask("POST", "/twin/licence", licence="unknown")
    state = await owner.change("tts", "twin")
    assert state["state"] == "committed", state
    state = await owner.change("tts", "en_US-joe-medium")
    assert state["state"] == "committed", state
    await asyncio.to_thread(box.wait_ready)
