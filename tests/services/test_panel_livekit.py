"""The panel as a real process beside a real livekit-server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from livekit import api

from services.panel.app import livekit_rooms
from services.panel.watch import AGENT_GRACE_S
from tests.panel_box import SESSIONS, Box, running_box
from tests.waiting import eventually

# Two programs are started for each test.
pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]


@pytest.fixture
async def box(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[Box]:
    """A running panel and livekit-server."""
    async with running_box(tmp_path / "data", free_port) as box:
        yield box


async def test_a_call_is_a_room_with_an_agent_on_its_way(box: Box) -> None:
    made = await box.open()
    assert await box.rooms() == {made["room_name"]}
    (told,) = await box.dispatches(made["room_name"])
    assert told["session_id"] == made["session_id"]
    assert told["persona"]["name"] == "default"
    assert told["resumed"] is False
    ended = await box.http.post(f"{SESSIONS}/{made['session_id']}/end")
    assert ended.json()["state"] == "completed"
    assert await box.rooms() == set()


async def test_the_socket_is_the_owners_alone_and_goes_with_the_panel(box: Box) -> None:
    path = box.settings.socket("panel")
    assert path.stat().st_mode & 0o777 == 0o600
    assert box.stop_panel() == 0
    assert not path.exists()


async def test_a_token_opens_its_own_room_and_makes_none(box: Box) -> None:
    made = await box.open()

    async def join(token: str, **query: str) -> int:
        address = f"{box.settings.livekit_http_url}/rtc/validate"
        async with box.session.get(address, params={"access_token": token, **query}) as answer:
            return answer.status

    assert await join(made["token"]) == 200
    await box.http.post(f"{SESSIONS}/{made['session_id']}/end")
    assert await join(made["token"]) == 404, "no token can make a room"
    assert await box.rooms() == set()
    as_admin = api.LiveKitAPI.with_token(
        made["token"], box.settings.livekit_http_url, session=box.session
    )
    with pytest.raises(api.TwirpError):
        await as_admin.room.create_room(api.CreateRoomRequest(name="mine"))
    with pytest.raises(api.TwirpError):
        await as_admin.room.list_rooms(api.ListRoomsRequest())


async def test_rooms_are_made_again_after_livekit_was_killed(box: Box) -> None:
    made = await box.open()
    box.kill_livekit()
    await box.start_livekit()

    async def is_back() -> bool:
        return made["room_name"] in await box.rooms()

    await eventually(is_back, what="the room")
    (room,) = (await box.livekit.room.list_rooms(api.ListRoomsRequest())).rooms
    # The agent that was there comes back by itself; another is sent only where it does not.
    for sent in await box.sent(made["room_name"]):
        assert sent.state.created_at / 1e9 - room.creation_time_ms / 1e3 >= AGENT_GRACE_S


async def test_a_dispatch_that_no_worker_takes_is_known_as_such(box: Box) -> None:
    made = await box.open()
    rooms = livekit_rooms(box.settings)
    try:
        dispatch_id = await rooms.dispatch(made["room_name"], "{}")
        assert not await rooms.taken(made["room_name"], dispatch_id)
        assert not await rooms.taken(made["room_name"], "nobody")
        assert await rooms.people("call-nobody") == {}
        await rooms.remove(made["room_name"], "agent-nobody")
        await rooms.delete("call-nobody")
    finally:
        await rooms.close()


async def test_a_killed_job_is_replaced_and_a_killed_panel_misses_nothing(box: Box) -> None:
    """The whole way: hello from a child, kill -9 of it, a new dispatch that knows the talk."""
    made = await box.open()
    room, session_id = made["room_name"], made["session_id"]
    box.kill_panel()
    await box.start_panel()
    job = await _start_job(box, session_id)
    os.kill(job.pid, signal.SIGKILL)
    await job.wait()

    async def dispatched_again() -> bool:
        return len(await box.dispatches(room)) == 2

    await eventually(dispatched_again, what="the second dispatch")


async def _start_job(box: Box, session_id: str) -> asyncio.subprocess.Process:
    """A child that says hello to the panel and holds its stream."""
    script = """
import os, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect(sys.argv[1])
body = b'{"type":"hello","pid":%d,"identity":"agent-1"}\\n' % os.getpid()
line.sendall(b"POST /internal/v1/jobs/" + sys.argv[2].encode() + b" HTTP/1.1\\r\\nHost: panel\\r\\n"
             b"Transfer-Encoding: chunked\\r\\n\\r\\n%x\\r\\n%s\\r\\n" % (len(body), body))
print("said", flush=True)
line.recv(1000)
"""
    job = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(box.settings.socket("panel")), session_id,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert job.stdout is not None
    assert await asyncio.wait_for(job.stdout.readline(), 30) == b"said\n"

    async def known() -> bool:
        log = (box.settings.data_dir / "panel.log").read_text()
        return "job_began" in log

    await eventually(known, what="the hello")
    return job
