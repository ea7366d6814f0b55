"""What the panel mends in a real room: real clients, a real livekit-server, kill -9."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from livekit import api, rtc

from appliance.secrets import livekit_keys
from appliance.store import Store
from tests.panel_box import SESSIONS, Box, running_box
from tests.results import note
from tests.waiting import eventually

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]

# An agent as far as the panel can see: a participant with an open stream, in its own process.
_AGENT = """
import asyncio, json, os, sys
import httpx
from livekit import rtc
socket, session_id, url, token, identity = sys.argv[1:]
async def lines():
    yield json.dumps({"type": "hello", "pid": os.getpid(), "identity": identity}).encode() + b"\\n"
    await asyncio.Event().wait()
async def main():
    room = rtc.Room()
    await room.connect(url, token)
    print("joined", flush=True)
    transport = httpx.AsyncHTTPTransport(uds=socket)
    async with httpx.AsyncClient(transport=transport, timeout=None) as http:
        await http.post(f"http://panel/internal/v1/jobs/{session_id}", content=lines())
asyncio.run(main())
"""


@pytest.fixture
async def box(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[Box]:
    """A running panel and livekit-server."""
    async with running_box(tmp_path / "data", free_port) as box:
        yield box


class Talk:
    """A caller in this process and an agent in another."""

    def __init__(self, box: Box, made: dict[str, Any]) -> None:
        self.box, self.session_id, self.room_name = box, made["session_id"], made["room_name"]
        self.caller = rtc.Room()
        self.agent: asyncio.subprocess.Process | None = None
        self._token = made["token"]

    async def begin(self) -> None:
        """Both join."""
        await self.caller.connect(self.box.settings.livekit_url, self._token)
        grants = api.VideoGrants(room_join=True, room=self.room_name, agent=True)
        token = api.AccessToken(*livekit_keys(self.box.settings))
        token = token.with_identity("agent-1").with_kind("agent").with_grants(grants)
        self.agent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _AGENT, str(self.box.settings.socket("panel")), self.session_id,
            self.box.settings.livekit_url, token.to_jwt(), "agent-1",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self.agent.stdout is not None
        assert await asyncio.wait_for(self.agent.stdout.readline(), 30) == b"joined\n"
        await eventually(self._held, what="the agent's hello")

    async def end(self) -> None:
        """Both go."""
        if self.agent is not None and self.agent.returncode is None:
            self.agent.kill()
            await self.agent.wait()
        await self.caller.disconnect()

    async def people(self) -> set[str]:
        """Who livekit-server says is in the room."""
        request = api.ListParticipantsRequest(room=self.room_name)
        found = await self.box.livekit.room.list_participants(request)
        return {person.identity for person in found.participants}

    async def _held(self) -> bool:
        return "job_began" in (self.box.settings.data_dir / "panel.log").read_text()


@pytest.fixture
async def talk(box: Box) -> AsyncIterator[Talk]:
    """A call with both in the room."""
    talk = Talk(box, await box.open())
    await talk.begin()
    yield talk
    await talk.end()


async def test_a_killed_agent_is_put_out_and_its_successor_knows_the_talk(talk: Talk) -> None:
    store = Store(talk.box.settings.store_url)
    store.turns.begin(talk.session_id, "My name is Ann.")
    store.close()
    assert await talk.people() == {f"caller-{talk.session_id}", "agent-1"}
    assert talk.agent is not None
    os.kill(talk.agent.pid, signal.SIGKILL)

    async def mended() -> bool:
        # No worker takes them here, so there may be more than one by the time anybody looks.
        return any(one["resumed"] for one in await talk.box.dispatches(talk.room_name))

    await eventually(mended, what="the second dispatch")
    assert await talk.people() == {f"caller-{talk.session_id}"}


async def test_everyone_comes_back_after_livekit_was_killed(talk: Talk) -> None:
    reconnected = asyncio.Event()
    talk.caller.on("reconnected", reconnected.set)
    talk.box.kill_livekit()
    await talk.box.start_livekit()
    await asyncio.wait_for(reconnected.wait(), 30)

    async def both() -> bool:
        return await talk.people() == {f"caller-{talk.session_id}", "agent-1"}

    await eventually(both, what="the agent's return")
    session = (await talk.box.http.get(f"{SESSIONS}/{talk.session_id}")).json()
    assert session["state"] == "active"
    assert session["joined_at"] is not None


async def test_hanging_up_is_seen_by_both(talk: Talk) -> None:
    gone = asyncio.Event()
    talk.caller.on("disconnected", lambda *_: gone.set())
    ended = await talk.box.http.post(f"{SESSIONS}/{talk.session_id}/end")
    assert ended.json()["state"] == "completed"
    await asyncio.wait_for(gone.wait(), 30)
    assert talk.room_name not in await talk.box.rooms()


async def test_a_stopping_panel_takes_no_call_with_it(talk: Talk) -> None:
    """SIGTERM while a job holds its stream: gone in seconds, status 0, and nobody was put out."""
    began = time.monotonic()
    assert await asyncio.to_thread(talk.box.stop_panel) == 0
    note("panel stopped in a call", seconds=round(time.monotonic() - began, 2))
    assert await talk.people() == {f"caller-{talk.session_id}", "agent-1"}
    store = Store(talk.box.settings.store_url)
    assert store.sessions.get(talk.session_id).is_open
    store.close()
