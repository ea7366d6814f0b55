"""Opening a call for somebody who asks over HTTP: the page, a program, a guest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from appliance.store import Session
from appliance.store.vocabulary import Visit
from services.panel.access import principal_of
from services.panel.access.identity import is_secure
from services.panel.admission import HOLD_S, MOST_OF_ONE, POLL_S, BoxFull, Place
from services.panel.desk import Desk
from services.panel.readiness import Readiness
from services.panel.rooms import JoinToken

Responses = dict[int | str, dict[str, Any]]
TICKET = r"^[A-Za-z0-9_-]{22}$"
OPENING_ERRORS: Responses = {
    400: {"description": "`bad_request`"},
    401: {"description": "`not_signed_in`"},
    403: {"description": "`scope_missing`, `persona_model_not_loaded`, `call_over`"},
    404: {"description": "`persona_unknown`, `persona_voice_missing`, `ticket_unknown`"},
    413: {"description": "`body_too_large`"},
    503: {"description": "`box_full`, `not_ready` or `livekit_unavailable`, with Retry-After."},
}
QUEUE_ERRORS: Responses = {
    400: {"description": "`bad_request`"},
    401: {"description": "`not_signed_in`"},
    403: {"description": "`scope_missing`"},
    404: {"description": "`ticket_unknown`: the place is gone, ask for a call again"},
    503: {"description": "`not_ready`, with Retry-After."},
}
_ORIGINS = {"owner": "page", "command": "command", "key": "token"}


class Opened(BaseModel):
    """The way into a call."""

    session_id: str
    room_name: str
    url: str
    """Where LiveKit is, for the caller's client."""
    token: str
    expires_at: str
    """Until when the token may be used to join."""
    max_s: int
    """Longest duration of this call in seconds: the link's or the box's limit, the shorter one."""
    text_only: bool


class QueuePlace(BaseModel):
    """Where somebody stands in the queue."""

    before_you: int
    your_turn: bool
    """The seat is held for ``hold_s`` seconds; ask for the call again, with the ticket."""
    poll_s: int
    hold_s: int

    @classmethod
    def of(cls, place: Place) -> QueuePlace:
        """As it is told."""
        return cls(
            before_you=place.before_you, your_turn=place.your_turn, poll_s=POLL_S,
            hold_s=int(HOLD_S),
        )  # fmt: skip


class Asking(BaseModel):
    """How somebody asks for a seat."""

    model_config = ConfigDict(extra="forbid")
    caller_name: str = Field("", max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$")
    ticket: str | None = Field(None, pattern=TICKET, description="A place in the queue.")
    queue: bool = Field(False, description="Whether to be given a place where the box is full.")


@dataclass(frozen=True)
class Wish:
    """A call that somebody wants."""

    persona: str
    visit: Visit
    ticket: str | None = None
    queue: bool = False
    room_name: str = ""
    places: int = MOST_OF_ONE
    """How many places in the queue the visit's link or key may have."""


async def open_call(request: Request, wish: Wish) -> Session:
    """Open it, or hand out a place in the queue.

    Raises:
        BoxFull: carries the place, where one was wanted and the queue is not too long.
        ApplianceError: as ``Desk.open`` and ``Readiness.require``.
    """
    desk, readiness = desk_of(request), readiness_of(request)
    try:
        await desk.queue.refuse_if_full(wish.ticket)
        await readiness.require()
        return await desk.open(
            wish.persona, wish.visit, ticket=wish.ticket, room_name=wish.room_name
        )
    except BoxFull as full:
        if wish.queue and wish.ticket is None:
            full.place = desk.queue.wait(wish.visit.holder, wish.places)
        raise


def opened(request: Request, session: Session, join: JoinToken) -> Opened:
    """The answer to whoever asked for this call."""
    limit_s = desk_of(request).settings.agent.max_call_s
    return Opened(
        session_id=session.id,
        room_name=session.room_name,
        url=media_url(request),
        token=join.token,
        expires_at=join.expires_at.isoformat(),
        max_s=min(session.max_s or limit_s, limit_s),
        text_only=session.text_only,
    )


def visit_of(request: Request, caller_name: str = "") -> Visit:
    """How somebody who is signed in comes to a call."""
    principal = principal_of(request)
    origin = _ORIGINS[principal.kind] if principal else "page"
    return Visit(origin, caller_name, key_id=principal.key_id if principal else None)


def media_url(request: Request) -> str:
    """Where the caller's client reaches LiveKit: the same address as this API."""
    settings = desk_of(request).settings
    if settings.livekit.url:
        return settings.livekit.url
    host = request.headers["host"]
    secure = is_secure(request.headers)
    if host.lower() == "localhost" and not secure and settings.front.http_port != 80:
        # Asked over the unix socket, whose callers name no port.
        host = f"{host}:{settings.front.http_port}"
    return f"{'wss' if secure else 'ws'}://{host}"


def desk_of(request: Request) -> Desk:
    """The app's desk."""
    desk: Desk = request.app.state.desk
    return desk


def readiness_of(request: Request) -> Readiness:
    """The app's readiness."""
    readiness: Readiness = request.app.state.readiness
    return readiness
