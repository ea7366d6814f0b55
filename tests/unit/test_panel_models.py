"""The models' API: the list, licences, fetching, uploading, checking, deleting, changing."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from appliance.catalogue.lock import read_lock
from appliance.catalogue.selection import Selection, write_selection
from appliance.errors import ApplianceError
from appliance.settings import Settings
from services.panel.models import shelf
from tests import ggufs
from tests.models_fakes import API, FakeSource, models_panel, row, send, work
from tests.panel_app import Panel, box_settings, stranger, until

pytestmark = pytest.mark.unit


FAR = "granite-4.0-micro-q4_k_m"
RESEARCH_ONLY = "en_US-lessac-medium"


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return box_settings(tmp_path)


@pytest_asyncio.fixture
async def panel(settings: Settings, source: FakeSource) -> AsyncIterator[Panel]:
    async with models_panel(settings, source) as running:
        yield running


async def test_the_list_tells_what_fits_and_what_serves(panel: Panel) -> None:
    mind = await row(panel, "smollm2-135m-instruct")
    assert (mind["selected"], mind["installed"], mind["licence_to_accept"]) == (True, True, False)
    assert mind["fit"]["answer"] in ("fits", "tight", "too_big")
    assert mind["fit"]["need"] > 250 << 20
    assert "came with Earshot" in mind["kept_because"]
    far = await row(panel, FAR)
    assert not far["installed"]
    assert "about" in far["fit"]["because"]
    assert (far["size"], far["about_bytes"]) == (None, 2_100_000_000)
    assert mind["size"]
    assert mind["about_bytes"] is None
    shown = (await panel.http.get("/models")).text
    assert "On the disk: about 2,100 MB" in shown
    room = (await panel.http.get(f"{API}/room")).json()
    assert {"llm_weights", "llm_kv", "stt", "tts"} <= {part["name"] for part in room["parts"]}
    assert room["line"]["kv_per_token"] == 23040
    longer = await panel.http.get(f"{API}/smollm2-135m-instruct/fit?context_tokens=8192")
    assert longer.json()["need"] > mind["fit"]["need"]
    assert (await panel.http.get(f"{API}/nobody/fit")).status_code == 404


async def test_a_licence_is_accepted_before_anything_is_fetched(panel: Panel) -> None:
    refused = await panel.http.post(f"{API}/{RESEARCH_ONLY}/pull")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "licence_not_accepted")
    other = await panel.http.post(f"{API}/{RESEARCH_ONLY}/licence", json={"licence": "MIT"})
    assert other.status_code == 400
    shown = (await row(panel, RESEARCH_ONLY))["licence"]
    accepted = await panel.http.post(f"{API}/{RESEARCH_ONLY}/licence", json={"licence": shown})
    assert accepted.json()["licence_to_accept"] is False
    assert (await panel.http.post(f"{API}/{RESEARCH_ONLY}/pull")).status_code == 202
    assert (await work(panel, RESEARCH_ONLY))["state"] == "done"
    deeds = [entry.action for entry in panel.store.audit.list()[0]]
    assert "licence.accepted" in deeds


async def test_a_fetch_tells_how_far_it_is_and_can_be_stopped(
    panel: Panel, source: FakeSource
) -> None:
    told = list[dict[str, Any]]()
    listener = panel.app.state.bus.subscribe("pull")
    source.hangs = True
    assert (await panel.http.post(f"{API}/{FAR}/pull")).status_code == 202
    assert (await panel.http.post(f"{API}/{FAR}/pull")).status_code == 409
    async for event in listener:
        told.append(dict(event.data))
        if event.data["done"]:
            break
    listener.close()
    assert (told[-1]["done"], told[-1]["total"]) == (10, 100)
    assert (await panel.http.delete(f"{API}/{FAR}/pull")).status_code == 200
    assert (await work(panel, FAR))["state"] == "cancelled"
    assert (await panel.http.delete(f"{API}/{FAR}/pull")).status_code == 404


async def test_a_box_without_internet_is_told_another_way(panel: Panel, source: FakeSource) -> None:
    source.error = ApplianceError("hub_unreachable", "The model hub cannot be reached.", "Check.")
    await panel.http.post(f"{API}/{FAR}/pull")
    failed = await work(panel, FAR)
    assert failed["state"] == "failed"
    assert "Upload" in failed["hint"]
    assert (await panel.http.post(f"{API}/smollm2-135m-instruct/pull")).status_code == 400
    assert (await panel.http.post(f"{API}/nobody/pull")).status_code == 404


async def test_files_are_checked_against_their_digests(panel: Panel, settings: Settings) -> None:
    assert (await panel.http.post(f"{API}/en_US-joe-medium/verify")).status_code == 202
    checked = await work(panel, "en_US-joe-medium")
    assert (checked["state"], checked["done"]) == ("done", checked["total"])
    # A pulled copy goes before the embedded one; this one has a flipped byte.
    folder = settings.models_path / "en_US-joe-medium"
    folder.mkdir(parents=True)
    for path in (settings.builtin_models_dir / "en_US-joe-medium").iterdir():
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        (folder / path.name).write_bytes(raw)
    await panel.http.post(f"{API}/en_US-joe-medium/verify")
    damaged = await work(panel, "en_US-joe-medium")
    assert (damaged["state"], "damaged" in damaged["message"]) == ("failed", True)


async def test_what_serves_or_served_well_is_not_deleted(
    panel: Panel, settings: Settings, tmp_path: Path
) -> None:
    good = ggufs.make(tmp_path / "good.gguf").read_bytes()
    for name in ("now", "before", "spare"):
        assert (await send(panel, name, "gguf", good)).status_code == 200
    write_selection(settings, Selection(current={"llm": "now"}, last_good={"llm": "before"}))
    for name in ("now", "before", "smollm2-135m-instruct"):
        refused = await panel.http.delete(f"{API}/{name}")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_in_use")
    gone = await panel.http.delete(f"{API}/spare")
    assert (gone.status_code, gone.json()["freed"]) == (200, len(good))
    assert not (settings.models_path / "spare").exists()
    assert "spare" not in read_lock(settings.models_path).models
    assert (settings.models_path / "now" / "now.gguf").is_file()
    assert (await panel.http.delete(f"{API}/spare")).status_code == 404


@pytest.mark.parametrize("moment", ["need_for", "shape_of_installed", "licence_of"])
async def test_the_list_is_had_while_a_model_is_deleted(
    moment: str, panel: Panel, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = ggufs.make(tmp_path / "good.gguf").read_bytes()
    await send(panel, "spare", "gguf", good)
    real = getattr(shelf, moment)

    def deleted_before(*given: Any) -> Any:
        shutil.rmtree(settings.models_path / "spare", ignore_errors=True)
        return real(*given)

    monkeypatch.setattr(shelf, moment, deleted_before)
    answer = await panel.http.get("/models/parts/list")
    assert answer.status_code == 200, answer.text
    assert "smollm2-135m-instruct" in answer.text


async def test_a_switch_is_begun_once_and_no_call_meanwhile(panel: Panel) -> None:
    switcher = panel.app.state.switcher
    unknown = await panel.http.post(f"{API}/switch", json={"task": "llm", "model": "nobody"})
    assert unknown.status_code == 404
    wrong = await panel.http.post(
        f"{API}/switch", json={"task": "stt", "model": "en_US-joe-medium"}
    )
    assert wrong.status_code == 404
    body = {"task": "llm", "model": "smollm2-135m-instruct", "context_tokens": 2048}
    begun = await panel.http.post(f"{API}/switch", json=body)
    assert (begun.status_code, begun.json()["state"]) == (202, "checking"), begun.text
    assert (await panel.http.post(f"{API}/switch", json=body)).status_code == 409
    await until(lambda: switcher.pause)
    call = await panel.http.post("/api/v1/sessions", json={})
    assert (call.status_code, call.json()["error"]["code"]) == (503, "not_ready")
    await switcher.settle()
    assert (await panel.http.get(f"{API}/switch")).json()["state"] == "committed"
    assert (await panel.http.post("/api/v1/sessions", json={})).status_code == 201


async def test_nothing_of_it_is_for_strangers(panel: Panel) -> None:
    async with stranger(panel) as asker:
        for method, path in (
            ("GET", ""), ("GET", "/room"), ("POST", "/switch"), ("POST", f"/{FAR}/pull"),
            ("DELETE", "/mine"), ("PUT", "/uploads/mine/gguf"),
        ):  # fmt: skip
            assert (await asker.request(method, API + path)).status_code == 401, path


async def test_the_page_shows_hostile_names_as_text(panel: Panel, settings: Settings) -> None:
    folder = settings.models_path
    folder.mkdir(parents=True, exist_ok=True)
    ggufs.make(folder / "own.gguf")
    raw = (folder / "own.gguf").read_bytes()
    evil = b"<b onload>"
    (folder / "own.gguf").write_bytes(raw.replace(b"apache-2.0", evil))
    page = await panel.http.get("/models")
    assert page.status_code == 200
    assert "&lt;b onload&gt;" in page.text
    assert "<b onload>" not in page.text
    assert "style=" not in page.text
