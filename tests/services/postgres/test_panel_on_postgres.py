"""A whole panel on Postgres: a call is admitted, written down, found and purged; no password shown."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from appliance.store import Store
from tests.canary import files_with
from tests.panel_box import SESSIONS, Box, running_box
from tests.postgres import PASSWORD, Server

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]
CANARY = "canary-" + "p" * 40


@pytest.fixture
async def box(
    tmp_path: Path, free_port: Callable[[], int], empty_database_url: str
) -> AsyncIterator[Box]:
    """A panel beside a livekit-server, with a database that nobody has used yet."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "settings.toml").write_text(f'database_url = "{empty_database_url}"\n')
    async with running_box(data, free_port) as box:
        yield box


async def test_a_call_is_admitted_written_down_found_and_purged(
    box: Box, empty_database_url: str, postgres: Server, tmp_path: Path
) -> None:
    made = [await box.open() for _ in range(4)]
    busy = await box.http.post(SESSIONS, json={})
    assert (busy.status_code, busy.json()["error"]["code"]) == (503, "box_full")

    agent = Store(empty_database_url)
    for call in made:
        index = agent.turns.begin(call["session_id"], f"{CANARY}, please")
        agent.turns.finish(call["session_id"], index, "Certainly.", interrupted=False, ms={})
    agent.close()
    first = made[0]["session_id"]
    for call in made[:2]:
        ended = await box.http.post(f"{SESSIONS}/{call['session_id']}/end")
        assert ended.json()["state"] == "completed"

    found = (await box.http.get("/api/v1/calls", params={"q": CANARY.upper()})).json()["calls"]
    assert {one["session_id"] for one in found} == {one["session_id"] for one in made}
    assert found[0]["excerpt"] == f"{CANARY}, please"
    whole = (await box.http.get(f"/api/v1/calls/{first}")).json()
    assert [turn["agent_text"] for turn in whole["turns"]] == ["Certainly."]

    gone = (await box.http.delete(f"/api/v1/calls/{first}")).json()
    assert gone == {"calls": 1, "turns": 1, "scrubbed": True}
    for call in made[1:]:
        await box.http.post(f"{SESSIONS}/{call['session_id']}/end")
    gone = (await box.http.request("DELETE", "/api/v1/calls", params={"all": True})).json()
    assert gone == {"calls": 3, "turns": 3, "scrubbed": True}
    await asyncio.to_thread(postgres.run, "CHECKPOINT")
    assert files_with(CANARY, postgres.tables) == []
    assert (await box.http.get("/api/v1/audit/verify")).json()["whole"] is True
    # Nothing was kept in a file beside it.
    assert list(tmp_path.rglob("appliance.db*")) == []
    await shows_no_password(box, tmp_path)


async def shows_no_password(box: Box, folder: Path) -> None:
    """Neither on a page, nor to programs, nor in the files for help, nor in a log."""
    page = (await box.http.get("/settings")).text
    settings = (await box.http.get("/api/v1/settings")).text
    export = (await box.http.get("/api/v1/settings/export")).text
    made = (await box.http.get("/api/v1/doctor/bundle")).content
    with zipfile.ZipFile(io.BytesIO(made)) as bundle:
        inside = "".join(bundle.read(name).decode() for name in bundle.namelist())
    for text in (page, settings, export, inside):
        assert "moss" not in text
        assert PASSWORD not in text
    box.kill_panel()
    assert files_with("moss", folder) == ["settings.toml"]
