"""How a call ends."""

from __future__ import annotations

from typing import Any

import pytest
from livekit import rtc

from appliance.store import EndState
from services.agent import ending
from services.agent.ending import Ending
from tests.agent_fakes import until

pytestmark = pytest.mark.unit

Reason = rtc.DisconnectReason


class Person:
    """Somebody in the room."""

    def __init__(self, identity: str, reason: Any = None) -> None:
        self.identity = identity
        self.disconnect_reason = reason


class Room(rtc.EventEmitter[Any]):
    """A room and who is still in it."""

    def __init__(self) -> None:
        super().__init__()
        self.remote_participants: dict[str, Any] = {}


class Watched:
    """An ending on a fake room."""

    def __init__(self, join_within_s: float = 60) -> None:
        self.room = Room()
        self.hung_up = 0
        self.ending = Ending(self.room, join_within_s, self._hang_up)  # type: ignore[arg-type]

    def _hang_up(self) -> None:
        self.hung_up += 1

    @property
    def outcome(self) -> tuple[int, EndState, bool]:
        return self.hung_up, self.ending.state, self.ending.handed_over


async def test_hanging_up_ends_the_call_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_HUNG_UP_S", 0.01)
    watched = Watched()
    watched.room.emit("participant_disconnected", Person("caller-1", Reason.CLIENT_INITIATED))
    await until(lambda: watched.hung_up)
    assert watched.outcome == (1, EndState.CALLER_LEFT, False)


async def test_an_end_that_follows_a_hang_up_is_what_counts() -> None:
    watched = Watched()
    watched.room.emit("participant_disconnected", Person("caller-1", Reason.CLIENT_INITIATED))
    watched.room.emit("disconnected", Reason.ROOM_DELETED)
    assert watched.outcome == (1, EndState.COMPLETED, False)


async def test_others_may_leave() -> None:
    watched = Watched()
    watched.room.emit("participant_disconnected", Person("agent-1", Reason.CLIENT_INITIATED))
    assert watched.hung_up == 0


async def test_a_lost_caller_has_a_while_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    watched.room.emit("participant_disconnected", Person("caller-1"))
    watched.room.emit("participant_connected", Person("caller-1"))
    monkeypatch.setattr(ending, "_GRACE_S", 0.01)
    assert watched.hung_up == 0
    watched.room.emit("participant_disconnected", Person("caller-1"))
    await until(lambda: watched.hung_up)
    assert watched.outcome == (1, EndState.CALLER_LEFT, False)


async def test_nobody_joins() -> None:
    watched = Watched(join_within_s=0.01)
    await until(lambda: watched.hung_up)
    assert watched.outcome == (1, EndState.TIMED_OUT, False)


async def test_an_agent_that_was_replaced_leaves_the_call_open() -> None:
    watched = Watched()
    watched.room.emit("disconnected", Reason.PARTICIPANT_REMOVED)
    assert watched.outcome == (1, EndState.FAILED, True)


@pytest.mark.parametrize(
    ("reason", "state"),
    [(Reason.ROOM_DELETED, EndState.COMPLETED), (Reason.SIGNAL_CLOSE, EndState.FAILED)],
)
async def test_losing_the_room_ends_the_call(reason: Any, state: EndState) -> None:
    watched = Watched()
    watched.room.emit("disconnected", reason)
    assert watched.outcome == (1, state, False)


async def test_a_stopped_agent_leaves_the_call_to_another() -> None:
    watched = Watched()
    watched.ending.close()
    assert watched.outcome == (0, EndState.FAILED, True)


async def test_a_talk_that_broke_is_left_to_another_agent() -> None:
    watched = Watched()
    watched.ending.hand_over("The talk could not go on.")
    assert watched.outcome == (1, EndState.FAILED, True)


async def test_a_call_that_was_ended_is_not_handed_over_when_the_agent_stops() -> None:
    watched = Watched()
    watched.room.emit("disconnected", Reason.ROOM_DELETED)
    watched.ending.hand_over("The talk could not go on.")
    watched.ending.close()
    assert watched.outcome == (1, EndState.COMPLETED, False)


async def test_a_call_goes_on_while_somebody_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_HUNG_UP_S", 0.01)
    watched = Watched()
    watched.room.remote_participants = {"agent-2": object(), "visitor": object()}
    before = watched.ending._timer
    watched.room.emit("participant_disconnected", Person("caller-1", Reason.CLIENT_INITIATED))
    assert watched.ending._timer is before, "the end is near though somebody is left"
    del watched.room.remote_participants["visitor"]
    watched.room.emit("participant_disconnected", Person("visitor", Reason.CLIENT_INITIATED))
    await until(lambda: watched.hung_up)
    assert watched.outcome == (1, EndState.CALLER_LEFT, False)
