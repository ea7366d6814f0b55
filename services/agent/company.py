"""The room around the talk: whom the agent listens to, and what the panel asks it to say."""

from __future__ import annotations

import contextlib
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession

from appliance import logs
from services.agent.apology import BOX_STOPS, ENDING_SOON, TIME_IS_UP, Apologies
from services.agent.ending import is_caller

SAY_TOPIC = "appliance.say"
_ASKED = {line.code: line for line in (ENDING_SOON, TIME_IS_UP, BOX_STOPS)}
# The call ends whether the agent has finished or not.
_LAST_WORDS = (TIME_IS_UP, BOX_STOPS)

log = logs.get(__name__)


class Company:
    """Listens to the caller who came first; when they leave, to one who is still there.

    Args:
        room: the call's room.
        session: the talk, started.
        apologies: says recordings.
    """

    def __init__(self, room: rtc.Room, session: AgentSession[Any], apologies: Apologies) -> None:
        self._room = room
        self._session = session
        self._apologies = apologies
        room.on("participant_connected", self._on_joined)
        room.on("participant_disconnected", self._on_left)
        room.on("data_received", self._on_data)

    def _on_joined(self, participant: rtc.RemoteParticipant) -> None:
        if self._session.room_io.linked_participant is None:
            self._listen_to(participant.identity)

    def _on_left(self, participant: rtc.RemoteParticipant) -> None:
        linked = self._session.room_io.linked_participant
        if linked is not None and linked.identity != participant.identity:
            return
        others = filter(is_caller, self._room.remote_participants)
        other = next(others, "")
        if not other and is_caller(participant.identity):
            # What nobody hears was not said: the history must not hold it.
            with contextlib.suppress(RuntimeError):  # the session closes
                self._session.interrupt()
        self._listen_to(other)

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
        if line in _LAST_WORDS:
            self._session.interrupt()
        self._apologies.say(line)
