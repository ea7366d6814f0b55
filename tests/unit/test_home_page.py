"""The first page and the box's API: what they show, that hostile texts stay texts, restarts, logs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import NotReady
from appliance.gpu import Gpu, GpuReader
from appliance.host import HostReader
from appliance.store import EndState
from appliance.store.vocabulary import Visit
from services.panel.box import sampler as sampling
from services.panel.box.restarting import Restarts
from services.panel.pages.filters import clock, span, ticks
from tests.fakes_nvml import FakeNvml, loaded
from tests.panel_app import Panel, box_settings, running_panel, stranger, until

pytestmark = pytest.mark.unit

HOSTILE = "<img src=x onerror=alert(1)>\"'&`</script>"


class FakeSupervisor:
    """Notes what it is told; away if told so."""

    def __init__(self) -> None:
        self.away = False
        self.done: list[tuple[str, ...]] = []

    def process(self, name: str) -> None:
        if self.away:
            raise NotReady("box_not_running", "Earshot is not running.")

    def restart(self, name: str) -> None:
        self.done.append(("restart", name))

    def signal(self, name: str, signal_name: str) -> None:
        self.done.append(("signal", name, signal_name))


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    async with running_panel(box_settings(tmp_path / "data")) as running:
        yield running


@pytest.fixture
def supervisor(panel: Panel) -> FakeSupervisor:
    fake = FakeSupervisor()
    panel.app.state.restarts = Restarts(panel.desk.settings, fake)  # type: ignore[arg-type]
    return fake


async def home(panel: Panel) -> str:
    answer = await panel.http.get("/")
    assert answer.status_code == 200
    return answer.text


async def test_a_ready_box_says_so(panel: Panel) -> None:
    html = await home(panel)
    assert "<h1>Ready</h1>" in html
    assert "CPU mode" in html or "driver" in html
    assert "Nobody is talking" in html
    assert html.count("data-restart=") == 8
    assert 'aria-current="page"' in html


async def test_a_box_that_is_not_ready_says_why(panel: Panel) -> None:
    panel.status["llm"] = "The model is damaged. `scripts/appliance models verify` says which file."
    html = await home(panel)
    assert "<h1>Not ready</h1>" in html
    assert "Language model: The model is damaged." in html
    assert "<code>scripts/appliance models verify</code>" in html
    state = (await panel.http.get("/api/v1/box")).json()
    assert state["ready"] is False
    assert state["why"] == [f"Language model: {panel.status['llm']}"]


async def test_while_a_model_is_changed_no_call_is_taken_and_the_page_says_so(
    panel: Panel,
) -> None:
    panel.app.state.readiness.pause = lambda: "The models are being changed."
    assert "The models are being changed." in await home(panel)
    assert (await panel.http.get("/api/v1/box")).json()["ready"] is False


async def test_hostile_texts_stay_texts(panel: Panel) -> None:
    panel.status["stt"] = HOSTILE
    store = panel.store
    store.sessions.create(
        persona="default", keep_transcript=True, visit=Visit("link", HOSTILE[:80])
    )
    failed = store.sessions.create(persona="default", keep_transcript=True)
    store.sessions.end(failed.id, EndState.FAILED, HOSTILE)
    logs = panel.desk.settings.data_dir / "logs"
    logs.mkdir(exist_ok=True)
    line = {
        "ts": "2999-01-01T00:00:00Z",
        "level": "error",
        "event": "engine_failed",
        "why": HOSTILE,
    }
    (logs / "tts.log").write_text(json.dumps(line) + "\n")
    for path in ("/", "/parts/home"):
        html = (await panel.http.get(path)).text
        assert "<img src=x" not in html
        assert html.count("&lt;img src=x onerror=alert(1)&gt;") >= 5
        assert " style=" not in html
        assert "onclick" not in html


async def test_open_calls_are_shown(panel: Panel) -> None:
    session = await panel.talk()
    html = await home(panel)
    assert f'href="/calls/{session.id}"' in html
    assert "1 of " in html
    state = (await panel.http.get("/api/v1/box")).json()
    assert [call["id"] for call in state["calls"]] == [session.id]


async def test_pages_are_told_when_a_call_comes_and_goes(panel: Panel) -> None:
    with panel.app.state.bus.subscribe("calls") as listener:
        session = await panel.talk()
        assert (await anext(listener)).data == {"open": 1}
        await panel.http.post(f"/api/v1/sessions/{session.id}/end")
        assert (await anext(listener)).data == {"open": 0}


async def test_the_api_keeps_the_hour(panel: Panel) -> None:
    for _ in range(3):
        await panel.app.state.box.sampler.step()
    history = (await panel.http.get("/api/v1/box/history")).json()
    assert history.pop("every_s") == 2.0
    assert {len(column) for column in history.values()} == {3}


async def test_a_gpu_is_shown_with_its_memory(panel: Panel) -> None:
    with loaded(FakeNvml()):
        use(panel, GpuReader())
        html = await home(panel)
    assert "NVIDIA GeForce RTX 4090" in html
    for figure in ("54 °C", "37 %", "187 W", "9.0 GiB", "CUDA 12.8", "Memory of the GPU"):
        assert figure in html
    assert "estimated" in html


async def test_a_lost_gpu_says_what_to_do(panel: Panel) -> None:
    library = FakeNvml()
    library.errors["nvmlInitWithFlags"] = 999
    with loaded(library):
        use(panel, GpuReader())
        html = await home(panel)
    assert "GPU not available" in html
    assert "The GPU was taken away from Earshot." in html
    assert "container" in html


def use(panel: Panel, reader: GpuReader) -> None:
    sampler = panel.app.state.box.sampler
    sampler.gpu = None
    sampler._senses.gpu = reader.read


async def test_a_restart_is_begun_and_written_down(
    panel: Panel, supervisor: FakeSupervisor
) -> None:
    for name in ("stt", "livekit", "front", "panel"):
        answer = await panel.http.post(f"/api/v1/box/programs/{name}/restart")
        assert (answer.status_code, answer.json()["restarting"]) == (202, True)
    await until(lambda: len(supervisor.done) == 4)
    # Stopped by itself the panel would stay stopped; ended, it is started again.
    assert supervisor.done == [
        ("restart", "stt"),
        ("restart", "livekit"),
        ("restart", "front"),
        ("signal", "panel", "TERM"),
    ]
    entries, _total = panel.store.audit.list(limit=4)
    assert [(one.action, one.object) for one in entries] == [
        ("program.restarted", name) for name in ("panel", "front", "livekit", "stt")
    ]


async def test_a_restart_that_cannot_be_is_refused(
    panel: Panel, supervisor: FakeSupervisor
) -> None:
    unknown = await panel.http.post("/api/v1/box/programs/nope/restart")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "program_unknown")
    supervisor.away = True
    away = await panel.http.post("/api/v1/box/programs/stt/restart")
    assert (away.status_code, away.json()["error"]["code"]) == (503, "not_ready")
    assert supervisor.done == []


async def test_a_log_is_shown_without_speech_and_secrets(panel: Panel) -> None:
    logs = panel.desk.settings.data_dir / "logs"
    logs.mkdir(exist_ok=True)
    lines: list[Any] = [
        {"ts": "2026-01-01T00:00:00Z", "level": "info", "event": "heard", "text": "secret words"},
        {"ts": "2026-01-01T00:00:01Z", "level": "info", "event": "joined", "token": "secret"},
        {"ts": "2026-01-01T00:00:02Z", "level": "info", "event": "\ud800", "n": 7},
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    (logs / "livekit.log").write_text(f"{text}\nplain access_token=secret&x=1\n")
    answer = await panel.http.get("/api/v1/box/programs/livekit/log?lines=3")
    found = answer.json()["lines"]
    assert [line["event"] for line in found][:2] == ["joined", "?"]
    assert found[1]["rest"] == "n=7"
    assert "secret" not in answer.text
    assert answer.headers["cache-control"] == "no-store"


async def test_strange_requests_are_refused(panel: Panel) -> None:
    for query in ("lines=0", "lines=501", "lines=x", f"lines={'9' * 30}"):
        answer = await panel.http.get(f"/api/v1/box/programs/stt/log?{query}")
        assert answer.status_code == 400
    for name in ("..%2Fpanel", "nope", "%00", "x" * 50):
        assert (await panel.http.get(f"/api/v1/box/programs/{name}/log")).status_code in (400, 404)


async def test_strangers_see_nothing(panel: Panel) -> None:
    async with stranger(panel) as guest:
        for path in ("/api/v1/box", "/api/v1/box/history", "/api/v1/box/programs/stt/log"):
            assert (await guest.get(path)).status_code == 401
        assert (await guest.post("/api/v1/box/programs/stt/restart")).status_code == 401
        for path in ("/", "/parts/home"):
            assert (await guest.get(path)).status_code in (303, 401)


def test_a_sampler_takes_the_machines_own_figures(tmp_path: Path) -> None:
    senses = sampling.senses_of(box_settings(tmp_path / "data"))
    assert isinstance(senses.gpu(), Gpu)
    assert senses.host().cores == HostReader(tmp_path).read().cores
    assert senses.memory() == {}


def test_how_figures_and_sentences_are_written() -> None:
    assert [span(value) for value in (0, 59, 61, 7200, 200_000)] == [
        "0 s",
        "59 s",
        "1 min",
        "2 h",
        "2 d",
    ]
    assert [clock(value) for value in (-1, 67, 3753)] == ["0:00", "1:07", "1:02:33"]
    assert ticks("type `a<b` now") == "type <code>a&lt;b</code> now"
    assert ticks("one ` only") == "one ` only"
    assert ticks("<b>") == "&lt;b&gt;"
