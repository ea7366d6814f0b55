"""The worker: what it asks of LiveKit, when it is ready, what a dispatch tells it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from appliance.errors import BadInput
from appliance.personas import Persona
from appliance.settings import Settings
from services.agent import worker
from services.agent.call import Plan

pytestmark = pytest.mark.unit

PERSONA = Persona(name="tester", instructions="Be brief.")


def plan(**changes: Any) -> str:
    whole = {"session_id": "s1", "persona": PERSONA.model_dump(), "resumed": False}
    return json.dumps({**whole, **changes})


def test_a_dispatch_is_read() -> None:
    read = Plan.read(plan(resumed=True))
    assert (read.session_id, read.persona, read.resumed) == ("s1", PERSONA, True)


@pytest.mark.parametrize(
    "metadata", ["", "[]", "null", "{}", plan(persona=None), plan(persona={"name": "X"})]
)
def test_a_dispatch_that_is_none_of_ours_is_refused(metadata: str) -> None:
    with pytest.raises(BadInput):
        Plan.read(metadata)


def server(
    *, registered: bool = True, warm: bool = True, calls: int = 0, draining: bool = False
) -> Any:
    warmed: asyncio.Queue[int] = asyncio.Queue()
    if warm:
        warmed.put_nowait(1)
    return SimpleNamespace(
        id="AW_1" if registered else "unregistered",
        _connecting=not registered,
        draining=draining,
        active_jobs=[None] * calls,
        _proc_pool=SimpleNamespace(_warmed_proc_queue=warmed),
    )


@pytest.mark.parametrize(
    ("state", "ready"),
    [
        ({}, True),
        ({"registered": False}, False),
        ({"warm": False}, False),
        ({"warm": False, "calls": 1}, True),
        ({"draining": True}, False),
    ],
)
async def test_ready_is_registered_and_warm(state: dict[str, Any], ready: bool) -> None:
    assert (worker.why_not_ready(server(**state)) == "") is ready


async def test_readyz_answers_before_the_worker_runs(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    runner = await worker._answer_ready(worker.make_server(settings), settings)
    socket = settings.socket("agent")
    assert socket.stat().st_mode & 0o077 == 0
    connector = aiohttp.UnixConnector(str(socket))
    async with aiohttp.ClientSession(connector=connector) as client:
        answer = await client.get("http://agent/readyz")
        assert answer.status == 503
        body = await answer.json()
    assert body["ready"] is False
    assert "LiveKit" in body["why"]
    await runner.cleanup()


@pytest.mark.parametrize("seats", [1, 4, 64])
async def test_the_last_seat_is_given_and_no_more(tmp_path: Path, seats: int) -> None:
    made = worker.make_server(Settings(data_dir=tmp_path, agent={"seats": seats}))
    load: Any = made.load_fnc
    assert load(SimpleNamespace(active_jobs=[None] * (seats - 1))) < worker._THRESHOLD
    full = load(SimpleNamespace(active_jobs=[None] * seats))
    assert worker._THRESHOLD < full < 0.7
