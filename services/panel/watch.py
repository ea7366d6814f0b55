"""The repair loop: compares store, rooms and jobs, and mends what differs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from appliance import logs
from appliance.errors import ApplianceError
from appliance.store import EndState
from services.panel.calls import Call
from services.panel.desk import Desk
from services.panel.rooms import is_caller

CALLER_GRACE_S = 20.0
NEVER_JOINED_S = 30.0
AGENT_GRACE_S = 5.0
UNTAKEN_S = 0.7
"""LiveKit offers a dispatch to the workers once, after 0.2 s."""
JOB_GRACE_S = 3.0
"""How long an agent in a room may hold no stream: it has just come, or the panel has."""
AGENT_GIVEN_UP_S = 60.0
_LAST_WORDS_S = 5.0
SOON_S = 60.0
"""The caller hears of the end this long before it, or when two thirds of a short call are over."""
FAREWELL_S = 4.0
"""As long as the last recording takes."""

_EVERY_S = 0.5
_EVERY_WHILE_AWAITED_S = 0.25
_EVERY_WHILE_DOWN_S = 0.1
_EVERY_WHILE_IDLE_S = 5.0

log = logs.get(__name__)


class Watch:
    """Looks at every open call twice a second; news wakes it earlier."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._livekit_down = False
        self._looked_for_orphans = False

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            self._desk.news.clear()
            try:
                await self.step()
            except ApplianceError as error:
                # The store or LiveKit does not answer; the next round tries again.
                log.warning("watch_round_failed", code=error.code)
            except Exception:
                # A mistake of ours in one round must not leave every call unwatched.
                log.exception("watch_round_broken")
            # Not wait_for: Python 3.11's loses a cancellation that comes together with the news.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._desk.news.wait()

    def _pause_s(self) -> float:
        if not len(self._desk.book) and not self._desk.leftovers:
            return _EVERY_WHILE_IDLE_S
        if self._livekit_down:
            return _EVERY_WHILE_DOWN_S
        awaited = any(call.dispatch_id and not call.living_agents for call in self._desk.book)
        return _EVERY_WHILE_AWAITED_S if awaited else _EVERY_S

    async def step(self) -> None:
        """One round.

        Raises:
            ApplianceError: the store does not answer.
        """
        desk = self._desk
        # Noted before the store is read: a call opened in between is in neither list.
        known = [call for call in desk.book if not call.being_made]
        open_sessions = await asyncio.to_thread(desk.store.sessions.open)
        open_ids = {session.id for session in open_sessions}
        for session in open_sessions:
            desk.book.add(session).session = session
        for call in known:
            if call.session.id not in open_ids:
                await self._wind_up(call)
        calls = [call for call in desk.book if call.session.id in open_ids and not call.being_made]
        if self._looked_for_orphans and not open_sessions and not desk.leftovers:
            return
        try:
            rooms = await desk.rooms.names()
        except ApplianceError as error:
            if not self._livekit_down:
                log.warning("livekit_down", code=error.code, open_calls=len(open_sessions))
            self._livekit_down = True
            return
        if self._livekit_down:
            log.info("livekit_back", open_calls=len(open_sessions))
        self._livekit_down = False
        await self._close_orphans(rooms, {session.room_name for session in open_sessions})
        await asyncio.gather(*(self._look_after(call, rooms) for call in calls))

    async def _wind_up(self, call: Call) -> None:
        """The agent ended this call in the store; let it say its last words, then close."""
        now = self._desk.book.clock()
        if call.closing_since is None:
            call.closing_since = now
        if call.job is None or now - call.closing_since > _LAST_WORDS_S:
            await self._desk.close_room(call)

    async def _close_orphans(self, rooms: set[str], open_rooms: set[str]) -> None:
        """Close rooms of calls of ours that have ended; other boxes' rooms are not ours."""
        await self._desk.close_leftovers()
        known = open_rooms | {call.room for call in self._desk.book}
        just_now = datetime.now(UTC) - timedelta(seconds=_LAST_WORDS_S)
        for room in rooms - known:
            session = await asyncio.to_thread(self._desk.store.sessions.in_room, room)
            ended_at = session.ended_at if session else None
            if ended_at is not None and ended_at < just_now:
                self._desk.leftovers.add(room)
        self._looked_for_orphans = True

    async def _look_after(self, call: Call, rooms: set[str]) -> None:
        """Mend one call; a failure here is no other call's."""
        try:
            if call.room not in rooms:
                await self._make_again(call)
                return
            identities = await self._own_people(call)
            call.see(identities)
            if await self._ended(call, any(map(is_caller, identities))):
                return
            await self._announce_end(call)
            await self._mend_agent(call)
            if await self._agent_is_due(call):
                await self._send_or_give_up(call)
        except ApplianceError as error:
            log.warning("call_not_mended", session=call.session.id, code=error.code)

    async def _own_people(self, call: Call) -> set[str]:
        """Who is in the room; whoever came by a token of an earlier call is put out first."""
        own = set()
        for identity, session_id in (await self._desk.rooms.people(call.room)).items():
            if session_id in ("", call.session.id):
                own.add(identity)
                continue
            await self._desk.rooms.remove(call.room, identity)
            log.warning("token_of_another_call", session=call.session.id, other=session_id)
        return own

    async def _make_again(self, call: Call) -> None:
        """LiveKit was restarted and has forgotten the room; all its people are still out there."""
        session = await asyncio.to_thread(self._desk.store.sessions.get, call.session.id)
        if not session.is_open:
            return
        # Other callers may come back: LiveKit was away, or the whole box.
        over = session.joined_at is None or self._lasted_too_long(call)
        if over and await self._ended(call, caller_present=False):
            return
        # Without an agent: the one that was there comes back by itself, as the caller does.
        await self._desk.rooms.create(call.room, shared=call.is_shared)
        now = self._desk.book.clock()
        call.agents_present = set()
        call.agent_missing_since = now
        call.caller_missing_since = now if session.joined_at else None
        call.unheld_since = None
        log.warning("room_made_again", session=session.id)
        self._desk.news.set()

    async def _ended(self, call: Call, caller_present: bool) -> bool:
        """Whether the call is over: nobody came, the caller left, or it lasted too long."""
        now, joined = self._desk.book.clock(), call.session.joined_at is not None
        if caller_present:
            call.caller_missing_since = None
            if not joined:
                await asyncio.to_thread(self._desk.store.sessions.mark_joined, call.session.id)
        elif joined and call.caller_missing_since is None:
            call.caller_missing_since = now
        missing = call.caller_missing_since
        if self._lasted_too_long(call):
            state, reason = EndState.TIMED_OUT, "the longest call is over"
        elif not caller_present and not joined and now - call.opened_at > NEVER_JOINED_S:
            state, reason = EndState.FAILED, "never joined"
        elif missing is not None and now - missing > CALLER_GRACE_S:
            state, reason = EndState.CALLER_LEFT, ""
        else:
            return False
        await self._desk.end(call.session.id, state, reason)
        return True

    def _left_s(self, call: Call) -> float:
        longest_s = call.longest_s(self._desk.settings.agent.max_call_s)
        return call.opened_at + longest_s - self._desk.book.clock()

    def _lasted_too_long(self, call: Call) -> bool:
        return self._left_s(call) < 0

    async def _announce_end(self, call: Call) -> None:
        """Tell the caller once that the longest call is nearly over, and once that it is."""
        left_s = self._left_s(call)
        longest_s = call.longest_s(self._desk.settings.agent.max_call_s)
        if left_s <= FAREWELL_S:
            notice = "time_is_up"
        elif left_s <= min(SOON_S, longest_s / 3):
            notice = "ending_soon"
        else:
            return
        if notice not in call.told:
            call.told.add(notice)
            await self._desk.tell(call, notice)

    async def _mend_agent(self, call: Call) -> None:
        """One living agent that holds a stream, or one on its way."""
        desk, now = self._desk, self._desk.book.clock()
        room = call.room
        await self._remove_extra(call, room)
        living = call.living_agents
        if call.job is not None and call.job.identity in living:
            call.unheld_since = call.agentless_since = None
            call.agent_missing_since = now
            return
        if not living:
            return
        # Its hello is on its way, or it died while no panel was there to see it.
        call.unheld_since = now if call.unheld_since is None else call.unheld_since
        if now - call.unheld_since > JOB_GRACE_S:
            call.unheld_since = None
            for identity in sorted(living):
                await desk.rooms.remove(room, identity)
            call.dead |= living
            await desk.agent_died(call, min(living))

    async def _agent_is_due(self, call: Call) -> bool:
        """Whether an agent is to be sent now."""
        if call.living_agents or call.caller_missing_since is not None:
            # An agent that is sent to nobody would talk to nobody; it can wait for the caller.
            return False
        now = self._desk.book.clock()
        if call.job is None and call.dispatch_at is not None:
            return now >= call.dispatch_at
        if now >= call.agent_missing_since + AGENT_GRACE_S:
            return True
        if not call.dispatch_id or now < call.agent_missing_since + UNTAKEN_S:
            return False
        # No worker was there, as after its own restart; the next moment may have one.
        if await self._desk.rooms.taken(call.room, call.dispatch_id):
            call.dispatch_id = ""
            return False
        return True

    async def _send_or_give_up(self, call: Call) -> None:
        now = self._desk.book.clock()
        if call.agentless_since is None:
            call.agentless_since = now
        if now - call.agentless_since > AGENT_GIVEN_UP_S:
            await self._desk.end(call.session.id, EndState.FAILED, "no agent came")
            return
        await self._desk.send_agent(call)

    async def _remove_extra(self, call: Call, room: str) -> None:
        """Put out the dead, and whoever talks beside the agent that holds the call."""
        extra = call.agents_present & call.dead
        if call.job is not None and call.job.identity in call.agents_present:
            extra = call.agents_present - {call.job.identity}
        for identity in sorted(extra):
            await self._desk.rooms.remove(room, identity)
            call.dead.add(identity)
