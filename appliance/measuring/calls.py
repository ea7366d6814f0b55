"""Several callers at once: each room's calls, one after another, and what was measured in them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import aiohttp
import httpx
from livekit import api, rtc
from livekit.rtc.participant import PublishTrackError

from appliance import logs
from appliance.calling import Caller, TurnReport
from appliance.errors import ApplianceError
from appliance.headset import Clip
from appliance.measuring.figures import OVER_TOO_SOON, SPOKE_ON, Turn
from appliance.measuring.plan import Deed
from appliance.measuring.sides import Side

log = logs.get(__name__)

_ANSWER_BEGINS_S = 20.0
_SPEAK_OVER_AFTER_S = 1.5
_SILENCE_GAP_S = 0.4
_SILENT_WITHIN_S = 10.0
_STILL_SPEAKING_S = 0.1
# What a call can fail of: a refusal of ours, or a connection to the box or the media server.
_FAILURES = (
    ApplianceError, aiohttp.ClientError, httpx.HTTPError, api.TwirpError, rtc.ConnectError,
    rtc.RpcError, PublishTrackError, TimeoutError, OSError,
)  # fmt: skip


@dataclass
class Rooms:
    """One round: a call in every room.

    Attributes:
        side: whose rooms they are.
        overlap: whether the callers speak when they like.
        done: told after each thing done.
        turns: what was done so far, also of a round that is broken off.
        sessions: the ids of the calls.
    """

    side: Side
    overlap: bool
    done: Callable[[], None]
    turns: list[Turn] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)

    async def hold(self, call: int, rooms: Iterable[tuple[int, list[Deed]]]) -> None:
        """Call from every room, do what is to be done, hang up; a failure is a turn with a reason.

        Args:
            call: the number of the round, from 0.
            rooms: each room's number and its deeds.
        """
        floor = None if self.overlap else asyncio.Lock()
        # Whoever is greeted while another speaks would be measured under another load.
        greeted = asyncio.Barrier(len(rooms := list(rooms)))
        async with asyncio.TaskGroup() as calling:
            for number, deeds in rooms:
                calling.create_task(self._call(call, number, deeds, floor, greeted))

    async def _call(
        self, call: int, room: int, deeds: list[Deed], floor: asyncio.Lock | None,
        greeted: asyncio.Barrier,
    ) -> None:  # fmt: skip
        caller, why = self.side.make(), ""
        try:
            try:
                await caller.join()
                await caller.greeting()
            except _FAILURES as error:
                why = _failure(error)
            await greeted.wait()
            for deed in deeds:
                turn = Turn(self.side.name, room, call, deed.kind, deed.clip.name, why=why)
                if not why:
                    try:
                        turn = await self._do(caller, deed, turn, floor)
                    except _FAILURES as error:
                        why = _failure(error)
                        turn = replace(turn, why=why)
                self.turns.append(turn)
                self.done()
        finally:
            self.sessions.add(caller.session_id)
            await _hang_up(caller)

    async def _do(self, caller: Caller, deed: Deed, turn: Turn, floor: asyncio.Lock | None) -> Turn:
        if deed.over is not None:
            return await _barge_in(caller, deed.clip, deed.over, turn, floor or asyncio.Lock())
        report = await caller.ask(deed.clip, floor=floor)
        at_ear = report.ms["at_ear"]
        if report.early:
            # The answer to the whole question may still be to come.
            await caller.settled(time.monotonic())
        elif report.turn is not None and at_ear is not None:
            await self._tell(caller.session_id, report.turn, at_ear)
        return replace(
            turn, ms=dict(report.ms), early=report.early,
            words_heard=len(report.heard.split()), words_answered=len(report.answered.split()),
            why=_why(report),
        )  # fmt: skip

    async def _tell(self, session_id: str, turn: int, at_ear: int) -> None:
        if self.side.heard is None:
            return
        try:
            await asyncio.to_thread(self.side.heard, session_id, turn, at_ear)
        except ApplianceError as error:
            # The store may be busy for a moment; the answer was measured all the same.
            log.warning("heard_not_kept", code=error.code)


def _failure(error: Exception) -> str:
    """Why a call could not go on."""
    if isinstance(error, ApplianceError):
        return error.message
    return f"The call broke off: {type(error).__name__}."


def _why(report: TurnReport) -> str:
    """Why a question has no answer to be timed; empty if it has one."""
    if report.early:
        return ""
    if not report.complete:
        # Nothing answers a question that was not understood, but its caller is told so.
        was_told = report.ms["at_ear"] is not None
        return "An apology was heard." if was_told else "No answer was heard."
    # Whoever tells the stages tells them all, unless an apology was all that was said.
    told = report.ms["transcript"] is not None
    return "An apology was heard." if told and report.ms["first_sound"] is None else ""


async def _hang_up(caller: Caller) -> None:
    try:
        if caller.session_id:
            await caller.end()
        else:
            await caller.leave()
    except _FAILURES as error:
        code = error.code if isinstance(error, ApplianceError) else type(error).__name__
        log.warning("call_not_ended", code=code)


async def _barge_in(
    caller: Caller, long: Clip, over: Clip, turn: Turn, floor: asyncio.Lock
) -> Turn:
    """Speak into a long answer; the time until it is silent counts from the first voiced sample."""
    async with floor:
        asked = (await caller.microphone.say(long)).last_voiced
        await caller.until(lambda: caller.ear.first_loud(asked), _ANSWER_BEGINS_S)
        first = caller.ear.first_loud(asked)
        if first is None:
            return replace(turn, why="No answer was heard.")
        speak_at = first + _SPEAK_OVER_AFTER_S
        await caller.until(lambda: time.monotonic() > speak_at, _SPEAK_OVER_AFTER_S)
        said = await caller.microphone.say(over)
    began, ended = said.first_voiced, said.last_voiced
    await caller.until(lambda: caller.ear.silent_from(began, _SILENCE_GAP_S), _SILENT_WITHIN_S)
    silent = caller.ear.silent_from(began, _SILENCE_GAP_S)
    before = caller.ear.first_loud(began - _STILL_SPEAKING_S)
    await caller.settled(ended)
    if before is None or before > began + _STILL_SPEAKING_S:
        return replace(turn, why=OVER_TOO_SOON)
    if silent is None:
        return replace(turn, why=SPOKE_ON)
    return replace(turn, ms={"silence": round((silent - began) * 1000)})
