"""Jobs and the panel: the open stream, its goodbye, and what its silence means."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.store import EndState, Session
from services.panel import internal
from tests.panel_app import SESSIONS, Panel, box_settings, running_panel, until

pytestmark = pytest.mark.unit


class Stream:
    """A job's side of its stream."""

    def __init__(self, panel: Panel, session_id: str) -> None:
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._answer = asyncio.create_task(
            panel.http.post(f"/internal/v1/jobs/{session_id}", content=self._body())
        )

    def say(self, **line: Any) -> None:
        """Send one line."""
        self._lines.put_nowait(json.dumps(line).encode() + b"\n")

    def send(self, raw: bytes) -> None:
        """Send bytes as they are."""
        self._lines.put_nowait(raw)

    async def end(self) -> httpx.Response:
        """End the body; what the panel answered."""
        self._lines.put_nowait(None)
        return await self.answer()

    async def answer(self) -> httpx.Response:
        """What the panel answered, when it does."""
        return await asyncio.wait_for(self._answer, 30)

    async def _body(self) -> AsyncIterator[bytes]:
        while (line := await self._lines.get()) is not None:
            yield line


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """A panel whose loop steps when told to."""
    async with running_panel(box_settings(tmp_path / "data")) as panel:
        yield panel


async def _hold(panel: Panel, session: Session, identity: str = "agent-1") -> Stream:
    call = panel.desk.book.get(session.id)
    assert call is not None
    before = call.job
    stream = Stream(panel, session.id)
    stream.say(type="hello", pid=42, identity=identity)
    await until(
        lambda: call.job is not None and call.job is not before and call.job.identity == identity
    )
    return stream


async def test_a_stream_that_breaks_off_means_a_new_agent(panel: Panel) -> None:
    session = await panel.talk()
    stream = await _hold(panel, session)
    assert (await stream.end()).json() == {"outcome": "lost"}
    await panel.watch.step()
    assert panel.rooms.removed == [(session.room_name, "agent-1")]
    assert len(panel.rooms.dispatches) == 2
    assert panel.state(session)[0] == "active"


async def test_a_goodbye_ends_the_call(panel: Panel) -> None:
    session = await panel.talk()
    stream = await _hold(panel, session)
    stream.say(type="goodbye", state="caller_left", reason="hung up")
    assert (await stream.answer()).json() == {"outcome": "ended"}
    assert panel.state(session) == ("caller_left", "hung up")
    assert panel.rooms.deleted == [session.room_name]


async def test_the_agents_own_end_stands(panel: Panel) -> None:
    session = await panel.talk()
    stream = await _hold(panel, session)
    panel.store.sessions.end(session.id, EndState.COMPLETED, "said goodbye")
    stream.say(type="goodbye", state="failed", reason="")
    await stream.answer()
    assert panel.state(session) == ("completed", "said goodbye")


async def test_lines_may_come_in_pieces_and_unknown_ones_are_skipped(panel: Panel) -> None:
    session = await panel.talk()
    stream = Stream(panel, session.id)
    for piece in (b'{"type":"hel', b'lo","pid":1,"identity":"agent-1"}', b"\n", b"\n\n"):
        stream.send(piece)
    stream.say(type="note", what="ignored")
    stream.say(type="goodbye", state="completed")
    assert (await stream.answer()).json() == {"outcome": "ended"}


async def test_a_garbled_stream_is_a_dead_agent(panel: Panel) -> None:
    session = await panel.talk()
    stream = await _hold(panel, session)
    stream.send(b"\xff not json\n")
    assert (await stream.answer()).json() == {"outcome": "lost"}


@pytest.mark.parametrize(
    "first",
    [
        b"[]\n",
        b"{}\n",
        b'{"type":"hello","pid":1,"identity":"caller-1"}\n',
        b'{"type":"hello","pid":"x","identity":"agent-1"}\n',
        b"x" * 20_000,
    ],
)
async def test_a_stream_without_a_hello_is_refused(panel: Panel, first: bytes) -> None:
    session = await panel.talk()
    stream = Stream(panel, session.id)
    stream.send(first)
    answer = await stream.end()
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")


async def test_a_silent_stream_is_not_waited_for(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(internal, "_HELLO_S", 0.01)
    session = await panel.talk()
    assert (await Stream(panel, session.id).answer()).status_code == 400


async def test_only_open_calls_can_be_held(panel: Panel) -> None:
    session = await panel.talk()
    await panel.http.post(f"{SESSIONS}/{session.id}/end")
    for session_id, code in ((session.id, "call_over"), ("nobody", "session_unknown")):
        stream = Stream(panel, session_id)
        stream.say(type="hello", pid=1, identity="agent-1")
        assert (await stream.answer()).json()["error"]["code"] == code


async def test_a_second_agent_is_told_that_the_call_is_taken(panel: Panel) -> None:
    session = await panel.talk()
    first = await _hold(panel, session)
    panel.rooms.join(session.room_name, "agent-2")
    second = Stream(panel, session.id)
    second.say(type="hello", pid=2, identity="agent-2")
    assert (await second.answer()).json()["error"]["code"] == "call_taken"
    await panel.watch.step()
    assert panel.rooms.removed == [(session.room_name, "agent-2")]
    await first.end()


async def test_the_same_job_may_come_back(panel: Panel) -> None:
    session = await panel.talk()
    first = await _hold(panel, session)
    again = await _hold(panel, session)
    await first.end()
    await panel.watch.step()
    assert panel.rooms.removed == []
    again.say(type="goodbye", state="completed")
    assert (await again.answer()).json() == {"outcome": "ended"}


async def test_hanging_up_waits_for_the_last_turn(panel: Panel) -> None:
    """The agent sees its room go, writes what was heard, says goodbye; then the caller is told."""
    session = await panel.talk()
    stream = await _hold(panel, session)
    index = panel.store.turns.begin(session.id, "Tell me a story.")
    hanging_up = asyncio.create_task(panel.http.post(f"{SESSIONS}/{session.id}/end"))
    await until(lambda: session.room_name in panel.rooms.deleted)
    assert not hanging_up.done()
    panel.store.turns.finish(session.id, index, "Once upon", interrupted=True, ms={})
    stream.say(type="goodbye", state="caller_left", reason="")
    assert (await hanging_up).json()["state"] == "completed"
    assert panel.store.turns.list(session.id)[0].agent_text == "Once upon"


async def test_a_genuine_webhook_wakes_the_watch(panel: Panel) -> None:
    panel.desk.news.clear()
    answer = await panel.http.post(
        "/internal/livekit", content=b'{"event":"x"}', headers={"Authorization": "signed"}
    )
    assert answer.status_code == 200
    assert panel.desk.news.is_set()


async def test_the_loop_itself_replaces_a_dead_agent(tmp_path: Path) -> None:
    async with running_panel(box_settings(tmp_path / "data"), watching=True) as panel:
        session = await panel.open()
        panel.rooms.join(session.room_name, f"caller-{session.id}")
        panel.rooms.join(session.room_name, "agent-1")
        stream = await _hold(panel, session)
        await stream.end()
        async with panel.rooms.changed:
            await asyncio.wait_for(
                panel.rooms.changed.wait_for(lambda: len(panel.rooms.dispatches) == 2), 5
            )
        assert panel.rooms.removed == [(session.room_name, "agent-1")]
