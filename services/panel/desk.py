"""Opening and ending calls: seats, rooms, tokens, agents."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from appliance import logs
from appliance.catalogue.personas import check_persona
from appliance.errors import ApplianceError, Refused
from appliance.personas import Persona, find_persona
from appliance.seats import seats_of
from appliance.settings import Settings
from appliance.store import EndState, Session, Store
from appliance.store.vocabulary import PAGE_VISIT, Visit
from services.panel.admission import Queue
from services.panel.calls import Book, Call, Clock, Job, dispatch_metadata
from services.panel.rooms import CALL_ATTRIBUTE, JoinToken, Rooms, Visitor, caller_identity

# A dispatch that is this young may still bring its agent; a second would bring a second one.
_DISPATCH_PATIENCE_S = 4.0
_GOODBYE_S = 2.0

log = logs.get(__name__)


class Desk:
    """Everything that is done to a call goes through here.

    Attributes:
        book: the open calls.
        seats: how many calls may run at once, and why.
        queue: who may take the next seat.
        naming: held while a room that a caller chose is looked up and made.
        news: set when something happened that the watch should look at.
        leftovers: rooms of ended calls that could not be closed yet.
    """

    def __init__(
        self, settings: Settings, store: Store, rooms: Rooms, clock: Clock = time.monotonic
    ) -> None:
        self.settings = settings
        self.store = store
        self.rooms = rooms
        self.book = Book(clock)
        self.seats = seats_of(settings)
        self.queue = Queue(self.seats.count, store.sessions.count_open, clock)
        self.naming = asyncio.Lock()
        self.news = asyncio.Event()
        self.leftovers: set[str] = set()

    async def open(
        self, persona: str, visit: Visit = PAGE_VISIT, *, ticket: str | None = None,
        room_name: str = "",
    ) -> Session:  # fmt: skip
        """Take a seat and make the room, with an agent on its way.

        Args:
            persona: who shall answer.
            visit: how the caller came, and within what bounds.
            ticket: the caller's place in the queue, if they waited.
            room_name: a room that the caller chose; empty: one of the call's own.

        Raises:
            NotFound: there is no such persona, or its voice is not installed, or no such ticket.
            Refused: the persona asks for a language model that is not loaded.
            LinkOver: the visit's link opens no more calls.
            NotReady: every seat is taken, or the media server does not answer.
        """
        async with self.queue.seat(ticket, visit.holder):
            # Not before: of the many who ask a full box at once, none is to wait for this file.
            found = await asyncio.to_thread(self.persona, persona)
            session = await asyncio.to_thread(
                self.store.sessions.create,
                persona=found.name,
                keep_transcript=found.keep_transcript,
                seats=self.seats.count,
                visit=visit,
                room_name=room_name,
            )
        call = self.book.add(session)
        call.being_made = True
        try:
            await self._make_room(call)
            await self._dispatch(call, resumed=False)
            if self.book.get(session.id) is not call:
                # It was ended before its room was there to be closed.
                await self.close_room(call)
                raise Refused("call_over", "This call has ended.", "Open a new one.")
        except ApplianceError as error:
            await self.end(session.id, EndState.FAILED, error.code)
            raise
        except asyncio.CancelledError:
            # The asker hung up meanwhile; nobody has the token, so nobody will come.
            await asyncio.shield(self.end(session.id, EndState.FAILED, "never joined"))
            raise
        finally:
            call.being_made = False
        self.news.set()
        log.info("call_opened", session=session.id, persona=found.name, origin=visit.origin)
        return session

    async def _make_room(self, call: Call) -> None:
        """Make the call's room; an earlier call of the same name leaves it first."""
        name = call.session.room_name
        before = [other for other in self.book if other is not call and other.room == name]
        for other in before:
            if other.job is not None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(other.job.gone.wait(), _GOODBYE_S)
            self.book.forget(other)
        if before or name in self.leftovers:
            await self.rooms.delete(name)
            self.leftovers.discard(name)
        # Without an agent: LiveKit would offer that dispatch once and name no id to ask for.
        await self.rooms.create(name, shared=call.is_shared)

    def token(self, session: Session, name: str = "") -> JoinToken:
        """The way in for the one caller of this call."""
        identity, attributes = caller_identity(session.id), {CALL_ATTRIBUTE: session.id}
        visitor = Visitor(identity, name, speaks=not session.text_only, attributes=attributes)
        return self.rooms.token(session.room_name, visitor)

    async def tell(self, call: Call, code: str) -> None:
        """Let the call's agent say one of its recordings; silent if there is no agent."""
        if call.job is None:
            return
        try:
            await self.rooms.say(call.room, call.job.identity, code)
        except ApplianceError as error:
            log.warning("not_said", session=call.session.id, notice=code, code=error.code)

    def persona(self, name: str) -> Persona:
        """The persona of this name, which can take a call now. Reads files.

        Raises:
            NotFound: there is none, or its voice is not installed.
            Refused: it asks for a language model that is not loaded.
        """
        persona = find_persona(name, self.settings.persona_dirs)
        check_persona(self.settings, persona)
        return persona

    async def end(self, session_id: str, state: EndState, reason: str = "") -> bool:
        """End a call in the store, then close its room; the first end wins.

        Returns:
            Whether this was the end.
        """
        ended = await asyncio.to_thread(self.store.sessions.end, session_id, state, reason)
        if ended:
            self.queue.ended()
            log.info("call_ended", session=session_id, state=state.value, reason=reason)
        call = self.book.get(session_id)
        if call is not None:
            await self.close_room(call)
        return ended

    async def hang_up(self, session_id: str, reason: str = "") -> Session:
        """End a call because someone asked; waits shortly for the agent's last words to be kept.

        Args:
            session_id: the call.
            reason: who asked, if it was not the caller.

        Raises:
            NotFound: there is no such call.
        """
        session = await asyncio.to_thread(self.store.sessions.get, session_id)
        if session.is_open:
            call = self.book.add(session)
            job = call.job
            await self.end(session_id, EndState.COMPLETED, reason)
            if job is not None:
                try:
                    await asyncio.wait_for(job.gone.wait(), _GOODBYE_S)
                except TimeoutError:
                    log.info("agent_slow_to_leave", session=session_id)
        return await asyncio.to_thread(self.store.sessions.get, session_id)

    async def call_agent(self, session_id: str) -> bool:
        """Send an agent if none is in the call and none is on its way; whether one was sent.

        Raises:
            NotFound: there is no such call.
            Refused: the call is over.
            NotReady: the media server does not answer.
        """
        session = await asyncio.to_thread(self.store.sessions.get, session_id)
        if not session.is_open:
            raise Refused("call_over", "This call has ended.", "Open a new one.")
        call = self.book.add(session)
        if call.room not in await self.rooms.names():
            # The media server has just been restarted; the watch makes the room again.
            self.news.set()
            return False
        call.see(set(await self.rooms.people(call.room)))
        return await self.send_agent(call, asked=True)

    async def close_room(self, call: Call) -> None:
        """Forget an ended call and close its room, later if LiveKit does not answer now."""
        self.book.forget(call)
        if all(other.room != call.room for other in self.book):
            self.leftovers.add(call.room)
        await self.close_leftovers()

    async def close_leftovers(self) -> None:
        """Close the rooms of ended calls that are still there."""
        for room in sorted(self.leftovers):
            if room not in self.leftovers:
                # A new call has taken the name meanwhile.
                continue
            try:
                await self.rooms.delete(room)
            except ApplianceError as error:
                log.warning("room_not_closed", room=room, code=error.code)
            else:
                self.leftovers.discard(room)

    async def send_agent(self, call: Call, *, asked: bool = False) -> bool:
        """Dispatch an agent; it greets, or goes on where the talk was if anything was said.

        Args:
            call: the call that lacks one.
            asked: a caller asked for it, so a young dispatch or a present agent is enough.

        Returns:
            Whether a dispatch was made.

        Raises:
            NotReady: the media server does not answer.
        """
        async with call.lock:
            now = self.book.clock()
            young = (
                call.last_dispatch is not None and now - call.last_dispatch < _DISPATCH_PATIENCE_S
            )
            if asked and (young or call.living_agents):
                return False
            turns = await asyncio.to_thread(self.store.turns.list, call.session.id)
            await self._dispatch(call, resumed=bool(turns))
            return True

    async def _dispatch(self, call: Call, *, resumed: bool) -> None:
        metadata = await asyncio.to_thread(
            dispatch_metadata, self.settings, call.session, resumed=resumed
        )
        # Before the request: while it runs, nobody else is to send a second one.
        call.last_dispatch = call.agent_missing_since = self.book.clock()
        call.dispatch_at = None
        call.dispatch_id = ""
        call.dispatch_id = await self.rooms.dispatch(call.room, metadata)
        log.info("agent_sent", session=call.session.id, resumed=resumed)

    async def job_began(self, session_id: str, job: Job) -> Call:
        """An agent says that it holds this call.

        Raises:
            NotFound: there is no such call.
            Refused: the call is over, or another agent holds it and is in the room.
        """
        session = await asyncio.to_thread(self.store.sessions.get, session_id)
        if not session.is_open:
            raise Refused("call_over", "This call has ended.")
        call = self.book.add(session)
        before = call.job if call.job and call.job.identity != job.identity else None
        if before is not None and before.identity in call.living_agents:
            call.dead.add(job.identity)
            self.news.set()
            raise Refused("call_taken", "Another agent holds this call.")
        if before is not None:
            call.dead.add(before.identity)
            before.released.set()
        call.job = job
        call.dead.discard(job.identity)
        call.dispatch_id = ""
        call.unheld_since = None
        call.agent_missing_since = self.book.clock()
        self.news.set()
        return call

    async def job_ended(self, call: Call, job: Job) -> None:
        """A job's stream ended without a goodbye: the agent is dead."""
        if call.job is not job:
            return
        call.job = None
        await self.agent_died(call, job.identity)

    async def agent_died(self, call: Call, identity: str) -> None:
        """Count the death; after too many in a row the call ends, so that the caller is told."""
        call.dead.add(identity)
        if call.count_death(self.book.clock()):
            log.warning("agent_died", session=call.session.id, identity=identity)
        else:
            reason = "the agent stopped several times in a row"
            await self.end(call.session.id, EndState.FAILED, reason)
        self.news.set()
