"""Calls: open one, look at it, end it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from appliance.personas import PersonaName
from services.panel import records
from services.panel.access.audit import note
from services.panel.desk import Desk
from services.panel.opening import (
    OPENING_ERRORS,
    QUEUE_ERRORS,
    TICKET,
    Asking,
    Opened,
    QueuePlace,
    Responses,
    Wish,
    open_call,
    opened,
    visit_of,
)

Ticket = Annotated[str, Path(pattern=TICKET)]
_THEIRS: Responses = {
    403: {"description": "`scope_missing`, `call_of_another`"},
    404: {"description": "`session_unknown`"},
}
router = APIRouter(prefix="/api/v1/sessions")


class NewCall(Asking):
    """What a caller may say about the call they want."""

    persona: PersonaName | None = None


@router.post("", status_code=201, responses=OPENING_ERRORS)
async def open_session(request: Request, wanted: NewCall | None = None) -> Opened:
    """Take a seat and hand out the way into the call's room."""
    desk = _desk(request)
    wanted = wanted or NewCall()
    wish = Wish(
        wanted.persona or desk.settings.persona, visit_of(request, wanted.caller_name),
        wanted.ticket, wanted.queue,
    )  # fmt: skip
    session = await open_call(request, wish)
    await note(request, "token.minted", object=session.id, room=session.room_name)
    return opened(request, session, desk.token(session, session.caller_name))


@router.post("/queue/{ticket}", responses=QUEUE_ERRORS)
async def look_at_queue(request: Request, ticket: Ticket) -> QueuePlace:
    """Where a ticket stands; a place that is not asked for in 15 s is given up."""
    return QueuePlace.of(await _desk(request).queue.look(ticket, visit_of(request).holder))


@router.delete("/queue/{ticket}", status_code=204, responses=QUEUE_ERRORS)
async def leave_queue(request: Request, ticket: Ticket) -> None:
    """Give the place up; no error if it is gone already."""
    _desk(request).queue.leave(ticket, visit_of(request).holder)


@router.get("")
async def list_sessions(
    request: Request, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> dict[str, Any]:
    """The latest calls, newest first."""
    found = await asyncio.to_thread(_desk(request).store.sessions.list, limit)
    return {"sessions": [session.as_json() for session in found]}


@router.get("/{session_id}")
async def get_session(request: Request, session_id: str) -> dict[str, Any]:
    """One call: whether it is open, how it ended."""
    session = await asyncio.to_thread(_desk(request).store.sessions.get, session_id)
    return session.as_json()


@router.get("/{session_id}/transcript")
async def get_transcript(request: Request, session_id: str) -> dict[str, Any]:
    """One call with its turns; who read it is noted."""
    session, turns = await records.read(request, session_id)
    return {**session.as_json(), "turns": [turn.as_json() for turn in turns]}


@router.post("/{session_id}/end", responses=_THEIRS)
async def end_session(request: Request, session_id: str) -> dict[str, Any]:
    """Hang up; answers once the agent has written its last turn, or after two seconds."""
    desk = _desk(request)
    before = await records.own_call(request, session_id)
    session = await desk.hang_up(session_id)
    if before.is_open:
        await note(request, "call.ended", object=session_id)
    return session.as_json()


@router.post("/{session_id}/dispatch")
async def send_agent(request: Request, session_id: str) -> dict[str, bool]:
    """Send an agent if none is in the room and none is on its way."""
    return {"dispatched": await _desk(request).call_agent(session_id)}


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk
