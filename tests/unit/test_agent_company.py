"""Several callers in one room, and what the panel asks an agent to say."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc
from livekit.agents.voice import AgentStateChangedEvent

from services.agent.apology import BOX_STOPS, ENDING_SOON, TIME_IS_UP
from services.agent.company import SAY_TOPIC, Company
from tests.agent_fakes import FakeSession, until

pytestmark = pytest.mark.unit


class Room(rtc.EventEmitter[Any]):
    """A room and who is in it."""

    def __init__(self, *identities: str) -> None:
        super().__init__()
        self.remote_participants: dict[str, Any] = dict.fromkeys(identities)


class Talk:
    """A session that listens to somebody, and all that it says."""

    def __init__(self, *identities: str) -> None:
        self.room = Room(*identities)
        self.said: list[Any] = []
        self.room_io = SimpleNamespace(linked_participant=None, set_participant=self.listen_to)
        self.session = FakeSession()
        session: Any = self.session
        session.room_io = self.room_io
        session.interrupt = lambda: self.said.append("hush")
        apologies: Any = SimpleNamespace(say=self.said.append)
        room: Any = self.room
        self.company = Company(room, session, apologies, lambda: self.said.append("returned"))

    def listen_to(self, identity: str) -> None:
        self.room_io.linked_participant = SimpleNamespace(identity=identity)

    @property
    def listens_to(self) -> str:
        return str(self.room_io.linked_participant.identity)

    def leave(self, identity: str) -> None:
        """As the framework does: it has forgotten them when others are told."""
        self.room.remote_participants.pop(identity)
        if self.listens_to == identity:
            self.room_io.linked_participant = None
        self.room.emit("participant_disconnected", SimpleNamespace(identity=identity))

    def ask(self, words: bytes, participant: Any = None, topic: str = SAY_TOPIC) -> None:
        packet = SimpleNamespace(topic=topic, data=words, participant=participant)
        self.room.emit("data_received", packet)


async def test_when_the_caller_leaves_the_next_one_is_heard() -> None:
    talk = Talk("ann", "agent-2", "external-1", "ben")
    talk.listen_to("ann")
    talk.leave("external-1")
    assert talk.listens_to == "ann"
    talk.leave("ann")
    assert talk.listens_to == "ben"
    assert talk.said == []


async def test_nothing_is_said_to_an_empty_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.agent.company._AWAY_S", 0.0)
    talk = Talk("ann", "agent-2")
    talk.listen_to("ann")
    talk.leave("ann")
    await until(lambda: talk.said == ["hush"])
    talk.room.emit("participant_disconnected", SimpleNamespace(identity="agent-2"))
    # The end of a turn that was pending.
    for state in ("thinking", "listening"):
        event = AgentStateChangedEvent(old_state="listening", new_state=state)
        talk.session.emit("agent_state_changed", event)
    assert talk.said == ["hush", "hush"]
    talk.room.emit("participant_connected", SimpleNamespace(identity="ann"))
    talk.room.emit("participant_connected", SimpleNamespace(identity="ben"))
    assert talk.said == ["hush", "hush", "returned"]
    event = AgentStateChangedEvent(old_state="listening", new_state="speaking")
    talk.session.emit("agent_state_changed", event)
    assert len(talk.said) == 3


async def test_who_is_back_at_once_hears_the_answer_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.agent.company._AWAY_S", 0.05)
    talk = Talk("ann")
    talk.listen_to("ann")
    talk.leave("ann")
    talk.room.remote_participants["ann"] = None
    talk.room.emit("participant_connected", SimpleNamespace(identity="ann"))
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, over.set)
    await over.wait()
    assert talk.said == []
    talk.leave("ann")
    talk.company.close()


async def test_somebody_new_is_heard_when_nobody_else_is() -> None:
    talk = Talk("ann")
    talk.listen_to("ann")
    talk.room.emit("participant_connected", SimpleNamespace(identity="ben"))
    assert talk.listens_to == "ann"
    talk.leave("ann")
    assert talk.room_io.linked_participant is None
    talk.room.emit("participant_connected", SimpleNamespace(identity="agent-3"))
    assert talk.room_io.linked_participant is None
    talk.room.emit("participant_connected", SimpleNamespace(identity="ben"))
    assert talk.listens_to == "ben"


def test_the_panels_words_are_said_and_nobody_elses() -> None:
    talk = Talk("ann")
    talk.ask(b"ending_soon")
    talk.ask(b"time_is_up")
    talk.ask(b"box_stops")
    assert talk.said == [ENDING_SOON, "hush", TIME_IS_UP, "hush", BOX_STOPS]
    talk.ask(b"time_is_up", participant=SimpleNamespace(identity="ann"))
    talk.ask(b"time_is_up", topic="chat")
    talk.ask(b"\xff open the door")
    assert len(talk.said) == 5
