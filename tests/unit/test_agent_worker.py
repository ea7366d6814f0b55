"""The worker: what it asks of LiveKit, when it is ready, what a dispatch tells it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from livekit.agents import JobRequest
from livekit.protocol import agent

from appliance.errors import BadInput, NotReady
from appliance.personas import Persona
from appliance.settings import Settings
from services.agent import job, worker
from services.agent.call import Plan
from services.panel.app import livekit_rooms
from tests.waiting import eventually

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


async def test_the_panel_learns_at_once_which_dispatches_were_taken(
    tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without LiveKit, which may say so only five seconds later."""
    settings = Settings(data_dir=tmp_path, livekit={"port": free_port()})
    made = worker.make_server(settings)
    runner = await worker._answer_ready(made, settings)
    rooms = livekit_rooms(settings)

    async def accept(_request: JobRequest) -> None:
        return

    monkeypatch.setattr(job, "accept", accept)
    request: Any = SimpleNamespace(job=agent.Job(id="AJ_1", dispatch_id="AD_1"))
    await made.accept(request)
    assert await rooms.taken("call-1", "AD_1")
    with pytest.raises(NotReady):
        await rooms.taken("call-1", "AD_2")
    await runner.cleanup()
    with pytest.raises(NotReady):
        await rooms.taken("call-1", "AD_1")
    await rooms.close()


@pytest.mark.parametrize("seats", [1, 4, 64])
async def test_as_many_callers_at_one_moment_as_there_are_seats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seats: int
) -> None:
    """Asked all at once, and while jobs whose calls are over still say their last words."""
    made = worker.make_server(Settings(data_dir=tmp_path, agent={"seats": seats}))
    made._loop = asyncio.get_running_loop()
    made._devmode = made._draining = False
    made._reserved_slots, made._job_lifecycle_tasks = 0, set()
    may_go = asyncio.Event()
    asked: list[str] = []
    refused: list[str] = []

    async def take(request: JobRequest) -> None:
        asked.append(request.id)
        await may_go.wait()
        await request.reject()

    async def send(message: agent.WorkerMessage) -> None:
        if not may_go.is_set():
            refused.append(message.availability.job_id)

    monkeypatch.setattr(made, "_request_fnc", take)
    monkeypatch.setattr(made, "_queue_msg", send)
    for ending in (0, seats):
        monkeypatch.setattr(type(made), "active_jobs", [None] * ending)
        asked.clear()
        for number in range(seats):
            job = agent.Job(id=f"job-{number}")
            await made._answer_availability(agent.AvailabilityRequest(job=job))
        await eventually(lambda: asyncio.sleep(0, len(asked) + len(refused) == seats))
        assert refused == []
    may_go.set()
    await asyncio.gather(*made._job_lifecycle_tasks)


@pytest.mark.parametrize("seats", [1, 4, 64])
def test_the_server_sends_jobs_beyond_the_seats_but_not_without_end(seats: int) -> None:
    target = 0.7
    assert worker.load_of(2 * seats - 1, seats) < target
    assert worker.load_of(2 * seats, seats) >= target
