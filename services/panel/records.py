"""What is done with calls as records: found, judged, taken away, deleted. For pages and the API."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Literal

from fastapi import Path, Request
from pydantic import BaseModel, ConfigDict, Field

from appliance import logs, transcripts
from appliance.errors import ApplianceError, BadInput, Refused
from appliance.personas import PersonaName
from appliance.store import Session, Store, Turn
from appliance.store.calls import LONGEST_NOTE, Page, Side
from appliance.store.searching import Judged, Wanted
from services.panel.access import Scope, principal_of
from services.panel.access.audit import note
from services.panel.desk import Desk
from services.panel.purge import Deletion, Purge

ENDED_BY_OWNER = "the owner ended the call"
_SAID_TO_CALLER = "The owner of this box ended the call."
_NOTICE_AHEAD_S = 0.2
_DAY_LENGTH = len("2026-11-21")

log = logs.get(__name__)

CallId = Annotated[str, Path(pattern="^[0-9a-zA-Z]{1,32}$", examples=["ea1339e0fa3c9fe0"])]


StateName = Literal["", "active", "ended", "completed", "caller_left", "timed_out", "failed"]


class Feedback(BaseModel):
    """What somebody thinks of a call; it takes the place of what they said before."""

    model_config = ConfigDict(extra="forbid")
    thumb: Literal[1, -1] | None = Field(None, description="1 up, -1 down, null neither.")
    note: str = Field("", max_length=LONGEST_NOTE, pattern=r"^[^\x00]*$")


class CallQuery(BaseModel):
    """Which calls are wanted; empty: any."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    q: str = Field(
        "", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$",
        description="Words of either side, of the notes or the caller's name; case does not matter.",
    )  # fmt: skip
    persona: PersonaName | Literal[""] = ""
    state: StateName = Field("", description="`ended` means every call that is not active.")
    origin: Literal["", "page", "link", "token", "command"] = ""
    link_id: str = Field("", pattern="^[0-9a-zA-Z_-]{0,32}$")
    since: str = Field(
        "", max_length=40, alias="from",
        description="Day or moment, ISO 8601; without a zone in the box's own.",
    )  # fmt: skip
    until: str = Field("", max_length=40, description="The same; a day is included.")
    feedback: Judged = ""
    cursor: str = Field("", max_length=50, description="`next` of the page before.")
    limit: int = Field(50, ge=1, le=200)

    def wanted(self) -> Wanted:
        """As the store understands it.

        Raises:
            BadInput: a date is none.
        """
        return Wanted(
            text=self.q.strip(), persona=self.persona, state=self.state, origin=self.origin,
            link_id=self.link_id, since=_moment(self.since), until=_moment(self.until, late=True),
            judged=self.feedback,
        )  # fmt: skip


def _moment(text: str, *, late: bool = False) -> datetime | None:
    if not text:
        return None
    try:
        if len(text) == _DAY_LENGTH:
            day = date.fromisoformat(text) + timedelta(days=1 if late else 0)
            return datetime.combine(day, time.min).astimezone(UTC)
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise BadInput("date_invalid", "This is no date.", "Write it like 2026-11-21.") from error


async def find(request: Request, query: CallQuery) -> Page:
    """The calls that match, newest first.

    Raises:
        BadInput: a date or the cursor is none.
    """
    wanted, cursor = query.wanted(), query.cursor or None
    store = store_of(request)
    return await asyncio.to_thread(store.calls.search, wanted, limit=query.limit, cursor=cursor)


async def read(request: Request, session_id: str) -> tuple[Session, list[Turn]]:
    """One call with its turns; who read it is noted.

    Raises:
        NotFound: there is no such call.
    """
    found = await look(request, session_id)
    await note(request, "call.read", object=session_id)
    return found


async def look(request: Request, session_id: str) -> tuple[Session, list[Turn]]:
    """The same without a note, for a page that asks again and again."""
    store = store_of(request)
    session = await asyncio.to_thread(store.sessions.get, session_id)
    return session, await asyncio.to_thread(store.turns.list, session_id)


async def take_away(
    request: Request, session_id: str, form: transcripts.Format
) -> tuple[Session, str]:
    """The call as a file's content; that it was taken is noted.

    Raises:
        NotFound: there is no such call.
    """
    session, turns = await look(request, session_id)
    await note(request, "call.exported", object=session_id, format=form)
    return session, transcripts.export(session, turns, form)


async def judge(store: Store, session_id: str, side: Side, feedback: Feedback) -> Session:
    """Keep what the caller or the owner thinks of the call.

    Raises:
        NotFound: there is no such call.
    """
    await asyncio.to_thread(
        store.calls.judge, session_id, side, thumb=feedback.thumb, note=feedback.note
    )
    return await asyncio.to_thread(store.sessions.get, session_id)


async def own_call(request: Request, session_id: str) -> Session:
    """A call that whoever asks may end and judge as its caller: a key only those it made.

    Raises:
        NotFound: there is no such call.
        Refused: it is somebody else's.
    """
    session = await asyncio.to_thread(store_of(request).sessions.get, session_id)
    principal = principal_of(request)
    if principal and not principal.may(Scope.ADMIN) and session.key_id != principal.key_id:
        raise Refused(
            "call_of_another", "This call was not made with this key.",
            "Use the key that made it, or one with the scope admin.",
        )  # fmt: skip
    return session


async def end(request: Request, session_id: str) -> Session:
    """The owner ends a call; the caller is told by whom.

    Raises:
        NotFound: there is no such call.
    """
    desk: Desk = request.app.state.desk
    before = await asyncio.to_thread(desk.store.sessions.get, session_id)
    if not before.is_open:
        return before
    try:
        await desk.rooms.notify(before.room_name, "ended_by_owner", _SAID_TO_CALLER)
        # It goes by another way than the room's end, which must not overtake it.
        await asyncio.sleep(_NOTICE_AHEAD_S)
    except ApplianceError as error:
        # The reason tells the caller's page the same once the call is over.
        log.warning("caller_not_notified", session=session_id, code=error.code)
    session = await desk.hang_up(session_id, ENDED_BY_OWNER)
    await note(request, "call.ended", object=session_id)
    return session


async def delete_one(request: Request, session_id: str) -> Deletion:
    """Delete an ended call; noted, also when it was refused.

    Raises:
        NotFound: there is no such call.
        Refused: it has not ended.
    """
    try:
        deletion = await purge_of(request).delete(session_id)
    except ApplianceError as error:
        await note(request, "call.deleted", object=session_id, result="refused", code=error.code)
        raise
    await note(request, "call.deleted", object=session_id, turns=deletion.turns)
    return deletion


async def delete_many(request: Request, older_than_days: int | None) -> Deletion:
    """Delete the ended calls of more than so many days ago; None: all of them. Noted."""
    purge = purge_of(request)
    if older_than_days is None:
        deletion = await purge.delete_all()
    else:
        deletion = await purge.delete_older_than(older_than_days)
    await note(request, "calls.deleted", calls=deletion.calls, older_than_days=older_than_days)
    return deletion


async def count(request: Request, older_than_days: int | None) -> int:
    """How many calls ``delete_many`` would delete."""
    before = None if older_than_days is None else purge_of(request).before(older_than_days)
    return await asyncio.to_thread(store_of(request).calls.count_ended, before)


def store_of(request: Request) -> Store:
    """The panel's store."""
    store: Store = request.app.state.store
    return store


def purge_of(request: Request) -> Purge:
    """The panel's one who deletes."""
    purge: Purge = request.app.state.purge
    return purge
