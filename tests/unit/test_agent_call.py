"""One job from its plan to its end; no server, no room."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from livekit import rtc

from appliance.personas import Persona
from appliance.settings import Settings
from appliance.store import EndState, Store, upgrade
from services.agent import call as call_module
from services.agent.call import Call, Equipment, Plan
from services.agent.talk import Detectors
from tests.agent_fakes import FakeDetector, FakeHandle, serving, until

pytestmark = pytest.mark.unit

Reason = rtc.DisconnectReason


class FakeRoom(rtc.EventEmitter[Any]):
    """A room with a caller in it."""

    def __init__(self) -> None:
        super().__init__()
        self.remote_participants = {"caller-1": object()}


class FakeJob:
    """What a job gets from the framework."""

    local_participant_identity = "agent-1"

    def __init__(self) -> None:
        self.room = FakeRoom()
        self.deleted = 0
        self.stopped = 0

    def shutdown(self, _reason: str) -> None:
        self.stopped += 1

    async def delete_room(self) -> None:
        self.deleted += 1


class Panel:
    """Reads the lines of jobs."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.closed = 0

    async def handle(self, request: web.Request) -> web.Response:
        try:
            async for line in request.content:
                self.kinds.append(json.loads(line)["type"])
            return web.Response()
        finally:
            self.closed += 1


class Held:
    """A call that is held, and all that it tells."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.store = store
        self.session = store.sessions.create(persona="tester", keep_transcript=True)
        self.job, self.panel = FakeJob(), Panel()
        persona = Persona(name="tester", instructions="Be brief.")
        plan = Plan(self.session.id, persona, resumed=False)
        detectors = Detectors(ear=FakeDetector(), session=FakeDetector())
        self.make: Callable[[], Call] = lambda: Call(
            self.job,  # type: ignore[arg-type]
            plan,
            Equipment(settings, store, detectors),
        )

    @property
    def state(self) -> EndState | str:
        found = self.store.sessions.get(self.session.id)
        assert found is not None
        return found.state


@pytest.fixture
async def held(tmp_path: Path) -> AsyncIterator[Held]:
    settings = Settings(data_dir=tmp_path)
    settings.run_dir.mkdir()
    upgrade(settings.store_url)
    store = Store(settings.store_url)
    made = Held(settings, store)
    route = "/internal/v1/jobs/{session_id}"
    async with serving(settings.socket("panel"), route, made.panel.handle):
        yield made
    store.close()


async def test_an_agent_that_is_stopped_leaves_the_call_to_another(held: Held) -> None:
    call = held.make()
    await until(lambda: held.panel.kinds == ["hello"])
    await call.finish()
    await until(lambda: held.panel.closed)
    assert held.panel.kinds == ["hello"]
    assert held.state == "active"
    assert held.job.deleted == 0


async def test_an_ended_call_is_written_told_and_closed(held: Held) -> None:
    call = held.make()
    await until(lambda: held.panel.kinds == ["hello"])
    held.job.room.emit("disconnected", Reason.ROOM_DELETED)
    await call.finish()
    assert held.panel.kinds == ["hello", "goodbye"]
    assert held.state == EndState.COMPLETED
    assert (held.job.stopped, held.job.deleted) == (1, 1)


async def test_an_end_that_the_store_does_not_take_is_still_told(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: Any) -> bool:
        raise ValueError

    call = held.make()
    await until(lambda: held.panel.kinds == ["hello"])
    monkeypatch.setattr(held.store.sessions, "end", end)
    held.job.room.emit("disconnected", Reason.ROOM_DELETED)
    await call.finish()
    assert held.panel.kinds == ["hello", "goodbye"]


async def test_a_prompt_that_is_still_read_delays_no_end(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = asyncio.Event()

    async def read_ahead(*_: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    async def start(*_: Any, **__: Any) -> None:
        pass

    monkeypatch.setattr(call_module, "read_ahead", read_ahead)
    call = held.make()
    monkeypatch.setattr(call._session, "start", start)
    monkeypatch.setattr(call._session, "say", lambda _text: FakeHandle())
    async with asyncio.timeout(30):
        await call.run()
        await asyncio.sleep(0)
        await call.finish()
        await given_up.wait()
