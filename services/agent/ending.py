"""How a call ends: who left, why, and whether the room is left to another agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from livekit import rtc

from appliance import logs
from appliance.store import EndState

log = logs.get(__name__)

# The box's own agents, and those of somebody else beside them.
_NO_CALLERS = ("agent-", "external-")
# A caller whose connection broke may come back by itself for this long.
_GRACE_S = 20.0
# The page leaves the room first and ends the call then: its word is to be the one that counts.
_HUNG_UP_S = 1.0

_Reason = rtc.DisconnectReason
_DELIBERATE = frozenset(
    {
        _Reason.CLIENT_INITIATED,
        _Reason.USER_REJECTED,
        _Reason.ROOM_DELETED,
        _Reason.PARTICIPANT_REMOVED,
    }
)
_REPLACED = frozenset({_Reason.PARTICIPANT_REMOVED, _Reason.DUPLICATE_IDENTITY})


def is_caller(identity: str) -> bool:
    """Whether this is a person rather than an agent."""
    return not identity.startswith(_NO_CALLERS)


class Ending:
    """Watches the room and decides that, and how, the call is over.

    Args:
        room: the call's room.
        join_within_s: how long the first caller may take to come, in seconds.
        hang_up: called once, when the call is over.
    """

    def __init__(self, room: rtc.Room, join_within_s: float, hang_up: Callable[[], None]) -> None:
        self._room = room
        self._hang_up = hang_up
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(
            join_within_s, self._end, EndState.TIMED_OUT, "Nobody joined the call."
        )
        self._decided = False
        self.state = EndState.FAILED
        self.reason = "The agent was stopped."
        self.handed_over = False
        room.on("participant_connected", self._on_joined)
        room.on("participant_disconnected", self._on_left)
        room.on("disconnected", self._on_disconnected)

    def caller_is_here(self) -> None:
        """The caller has been seen."""
        self._stop_timer()

    def close(self) -> None:
        """Decide nothing more; a call that nobody ended is left to another agent."""
        if not self._decided:
            # The worker stops or the job broke: no reason to hang up on the caller.
            self.handed_over = True
            self._decide()

    def hand_over(self, reason: str) -> None:
        """This agent cannot go on; another may."""
        if not self._decided:
            self.handed_over = True
            self._end(EndState.FAILED, reason)

    def _on_joined(self, participant: rtc.RemoteParticipant) -> None:
        if is_caller(participant.identity):
            self._stop_timer()

    def _on_left(self, participant: rtc.RemoteParticipant) -> None:
        if not is_caller(participant.identity) or any(
            map(is_caller, self._room.remote_participants)
        ):
            return
        why = participant.disconnect_reason
        log.info("caller_gone", why=_Reason.Name(why) if why is not None else "unknown")
        self._stop_timer()
        if why in _DELIBERATE:
            wait_s, reason = _HUNG_UP_S, "The caller hung up."
        else:
            wait_s, reason = _GRACE_S, "The caller's connection was lost."
        self._timer = self._loop.call_later(wait_s, self._end, EndState.CALLER_LEFT, reason)

    def _on_disconnected(self, why: _Reason.ValueType | None = None) -> None:
        if why in _REPLACED:
            # The panel took this agent for dead and has sent another; the call is not over.
            self.hand_over("Another agent took over.")
        elif why == _Reason.ROOM_DELETED:
            self._end(EndState.COMPLETED, "The call was ended.")
        else:
            self._end(EndState.FAILED, "The media server was lost.")

    def _end(self, state: EndState, reason: str) -> None:
        if self._decided:
            return
        self._decide()
        self.state, self.reason = state, reason
        log.info("call_over", state=state.value, reason=reason)
        self._hang_up()

    def _decide(self) -> None:
        self._decided = True
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
