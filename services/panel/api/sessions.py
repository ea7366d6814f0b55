"""Calls: open one, look at it, end it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from appliance.errors import Refused
from appliance.personas import PersonaName
from services.panel.desk import Desk
from services.panel.readiness import Readiness

router = APIRouter(prefix="/api/v1/sessions")


class NewCall(BaseModel):
    """What a caller may say about the call they want."""

    model_config = ConfigDict(extra="forbid")
    persona: PersonaName | None = None
    caller_name: str = Field("", max_length=80)


@router.post("", status_code=201)
async def open_session(request: Request, wanted: NewCall | None = None) -> dict[str, Any]:
    """Take a seat and hand out the way into the call's room."""
    desk, readiness = _desk(request), _readiness(request)
    wanted = wanted or NewCall()
    await readiness.require()
    admission = await desk.open(wanted.persona or desk.settings.persona, wanted.caller_name)
    return {
        "session_id": admission.session.id,
        "room_name": admission.session.room_name,
        "url": media_url(request, desk),
        "token": admission.join.token,
        "expires_at": admission.join.expires_at.isoformat(),
    }


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
    """One call with its turns."""
    store = _desk(request).store
    session = await asyncio.to_thread(store.sessions.get, session_id)
    turns = await asyncio.to_thread(store.turns.list, session_id)
    return {**session.as_json(), "turns": [turn.as_json() for turn in turns]}


@router.post("/{session_id}/end")
async def end_session(request: Request, session_id: str) -> dict[str, Any]:
    """Hang up; answers once the agent has written its last turn, or after two seconds."""
    session = await _desk(request).hang_up(session_id)
    return session.as_json()


@router.post("/{session_id}/dispatch")
async def send_agent(request: Request, session_id: str) -> dict[str, bool]:
    """Send an agent if none is in the room and none is on its way."""
    desk = _desk(request)
    session = await asyncio.to_thread(desk.store.sessions.get, session_id)
    if not session.is_open:
        raise Refused("call_over", "This call has ended.", "Open a new one.")
    call = desk.book.add(session)
    if session.room_name not in await desk.rooms.names():
        # The media server has just been restarted; the watch makes the room again.
        desk.news.set()
        return {"dispatched": False}
    call.see(await desk.rooms.identities(session.room_name))
    return {"dispatched": await desk.send_agent(call, asked=True)}


def media_url(request: Request, desk: Desk) -> str:
    """Where the caller's client reaches LiveKit: the same address as this API."""
    settings = desk.settings
    if settings.livekit.url:
        return settings.livekit.url
    host = request.headers["host"]
    if ":" not in host and settings.front.http_port != 80:
        # Asked over the unix socket, whose callers name no port.
        host = f"{host}:{settings.front.http_port}"
    secure = request.headers.get("x-forwarded-proto") == "https"
    return f"{'wss' if secure else 'ws'}://{host}"


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def _readiness(request: Request) -> Readiness:
    readiness: Readiness = request.app.state.readiness
    return readiness
