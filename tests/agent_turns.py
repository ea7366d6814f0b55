"""A turn log over a real store, and the events of a talk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from livekit.agents import ConversationItemAddedEvent, UserInputTranscribedEvent, llm
from livekit.agents.voice import AgentStateChangedEvent

from appliance.store import Store, Turn, upgrade
from services.agent.ledger import TOPIC
from services.agent.speculation import Speculation
from services.agent.turns import TurnLog
from tests.agent_fakes import FakeHandle, FakeSession


class TurnsTalk:
    """A turn log over a real store, and the events of a talk."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.call = store.sessions.create(persona="default", keep_transcript=True)
        self.told: list[dict[str, Any]] = []
        self.session = FakeSession()
        self.log = TurnLog(store, self.call.id, self._publish, Speculation("en", lambda: 0.0))
        self.log.follow(self.session)  # type: ignore[arg-type]

    async def _publish(self, text: str, topic: str) -> None:
        assert topic == TOPIC
        self.told.append(json.loads(text))

    def item(self, role: Any, text: str, *, interrupted: bool = False) -> llm.ChatMessage:
        message = llm.ChatMessage(role=role, content=[text], interrupted=interrupted)
        self.session.emit("conversation_item_added", ConversationItemAddedEvent(item=message))
        return message

    def sound(self) -> None:
        event = AgentStateChangedEvent(old_state="thinking", new_state="speaking")
        self.session.emit("agent_state_changed", event)

    def reply(self) -> FakeHandle:
        handle = FakeHandle()
        handle.add_done_callback(self.log._on_done)
        return handle

    def stored(self) -> list[Turn]:
        return self.store.turns.list(self.call.id)


def told_words(talk: TurnsTalk) -> None:
    event = UserInputTranscribedEvent(transcript="Hello.", is_final=True)
    talk.session.emit("user_input_transcribed", event)


@contextmanager
def turns_talk(folder: Path) -> Iterator[TurnsTalk]:
    """A talk over a store of its own."""
    url = f"sqlite:///{folder / 'appliance.db'}"
    upgrade(url)
    store = Store(url)
    try:
        yield TurnsTalk(store)
    finally:
        store.close()
