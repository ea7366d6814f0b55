"""The room around the talk: whom the agent listens to, and what the panel asks it to say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession
from livekit.agents.voice import AgentStateChangedEvent

from appliance import logs
from services.agent.apology import ENDING_SOON, LAST_WORDS, Apologies
from services.agent.ending import is_caller

SAY_TOPIC = "appliance.say"
_ASKED = {line.code: line for line in (ENDING_SOON, *LAST_WORDS)}
# A change of networks takes a second or two; the answer then goes on.
_AWAY_S = 3.0

log = logs.get(__name__)


class Company:
    """Listens to the caller who came first; when they leave, to one who is still there.

    Args:
        room: the call's room.
        session: the talk, started.
        apologies: says recordings.
        on_return: told when a caller is there again after nobody was.
    """

    def __init__(
        self,
        room: rtc.Room,
        session: AgentSession[Any],
        apologies: Apologies,
        on_return: Callable[[], None] = lambda: None,
    ) -> None:
        self._room = room
        self._session = session
        self._apologies = apologies
        self._on_return = on_return
        self._leaving: asyncio.TimerHandle | None = None
        self._is_empty = False
        session.on("agent_state_changed", self._on_state)
        room.on("participant_connected", self._on_joined)
        room.on("participant_disconnected", self._on_left)
        room.on("data_received", self._on_data)

    def _on_joined(self, participant: rtc.RemoteParticipant) -> None:
        if self._session.room_io.linked_participant is None:
            self._listen_to(participant.identity)
        if not is_caller(participant.identity):
            return
        self.close()
        if self._is_empty:
            self._is_empty = False
            self._on_return()

    def _on_left(self, participant: rtc.RemoteParticipant) -> None:
        linked = self._session.room_io.linked_participant
        if linked is not None and linked.identity != participant.identity:
            return
        others = filter(is_caller, self._room.remote_participants)
        other = next(others, "")
        if not other and is_caller(participant.identity):
            self.close()
            self._leaving = asyncio.get_running_loop().call_later(_AWAY_S, self._on_empty)
        self._listen_to(other)

    def _on_empty(self) -> None:
        self._is_empty = True
        self._hush()

    def _on_state(self, event: AgentStateChangedEvent) -> None:
        if self._is_empty and event.new_state in ("thinking", "speaking"):
            self._hush()

    def _hush(self) -> None:
        # What nobody hears was not said: the history must not hold it.
        with contextlib.suppress(RuntimeError):  # the session closes, or says its last words
            self._session.interrupt()

    def close(self) -> None:
        """Wait for nobody."""
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def _listen_to(self, identity: str) -> None:
        if identity and is_caller(identity):
            log.info("listening_to_another_caller")
            self._session.room_io.set_participant(identity)

    def _on_data(self, packet: rtc.DataPacket) -> None:
        # Only the media server itself sends without a participant.
        if packet.topic != SAY_TOPIC or packet.participant is not None:
            return
        line = _ASKED.get(packet.data.decode(errors="replace"))
        if line is None:
            log.warning("asked_for_an_unknown_line")
            return
        if line in LAST_WORDS:
            self._hush()
        self._apologies.say(line)
