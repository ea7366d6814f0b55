"""What a guest with a join link may do: open a call, and look after that one call."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request
from pydantic import BaseModel

from appliance.store import Session
from appliance.store.links import Link
from appliance.store.vocabulary import Visit
from services.panel.access.audit import note
from services.panel.guests import guests_of
from services.panel.opening import (
    OPENING_ERRORS,
    QUEUE_ERRORS,
    TICKET,
    Asking,
    Opened,
    QueuePlace,
    Responses,
    Wish,
    desk_of,
    open_call,
    opened,
)
from services.panel.records import CallId, Feedback, judge

router = APIRouter(prefix="/api/v1/guest/sessions", tags=["guests"])
Ticket = Annotated[str, Path(pattern=TICKET)]
GuestPass = Annotated[
    str,
    Header(
        alias="X-Earshot-Guest", max_length=100,
        description="What the link's address ends with; after the call was opened, its `guest`.",
    ),
]  # fmt: skip
_GUESSING: Responses = {
    410: {"description": "`link_revoked`, `link_expired`, `link_used_up`"},
    429: {"description": "`too_many_tries`"},
}
_CALL_ERRORS: Responses = {
    400: {"description": "`bad_request`"},
    403: {"description": "`call_over`"},
    404: {"description": "`session_unknown`: not a call of this guest"},
    413: {"description": "`body_too_large`"},
    429: {"description": "`too_many_tries`"},
    503: {"description": "`livekit_unavailable`, with Retry-After."},
}


class GuestOpened(Opened):
    """The way into a guest's call."""

    guest: str
    """What the guest sends from now on, for this call, in the header ``X-Earshot-Guest``."""


class GuestCall(BaseModel):
    """A guest's own call, as far as it is theirs to know."""

    session_id: str
    state: str
    reason: str
    persona: str
    keep_transcript: bool
    created_at: str
    joined_at: str | None
    ended_at: str | None

    @classmethod
    def of(cls, session: Session) -> GuestCall:
        """As it is told."""
        known = session.as_json()
        return cls(**{name: known[name] for name in cls.model_fields})


class GuestTurn(BaseModel):
    """One exchange of the call."""

    index: int
    user_text: str | None
    agent_text: str | None
    interrupted: bool
    started_at: str
    finished_at: str | None


class GuestTranscript(BaseModel):
    """A guest's own call with its turns."""

    session_id: str
    state: str
    reason: str
    keep_transcript: bool
    turns: list[GuestTurn]


@router.post("", status_code=201, responses={**OPENING_ERRORS, **_GUESSING})
async def open_guest_call(
    request: Request, guest: GuestPass, wanted: Asking | None = None
) -> GuestOpened:
    """Use the link once: take a seat and hand out the way in."""
    guests = guests_of(request)
    link = await guests.link(request, guest)
    wanted = wanted or Asking()
    visit = Visit("link", wanted.caller_name, link.id, link.max_s, link.text_only)
    link.require(datetime.now(UTC))
    wish = Wish(link.persona, visit, wanted.ticket, wanted.queue)
    if link.uses_allowed is not None:
        wish = replace(wish, places=link.uses_allowed - link.uses)
    session = await open_call(request, wish)
    await note(request, "link.used", object=link.id, actor=f"guest of {link.name}"[:120])
    answer = opened(request, session, desk_of(request).token(session, session.caller_name))
    return GuestOpened(**answer.model_dump(), guest=guests.passes.guest(link.id, session.id))


@router.post("/queue/{ticket}", responses={**QUEUE_ERRORS, **_GUESSING})
async def look_at_guest_queue(request: Request, guest: GuestPass, ticket: Ticket) -> QueuePlace:
    """Where a ticket stands; a place that is not asked for in 15 s is given up."""
    link = await guests_of(request).link(request, guest)
    link.require(datetime.now(UTC))
    return QueuePlace.of(await desk_of(request).queue.look(ticket, _holder(link)))


@router.delete("/queue/{ticket}", status_code=204, responses={**QUEUE_ERRORS, **_GUESSING})
async def leave_guest_queue(request: Request, guest: GuestPass, ticket: Ticket) -> None:
    """Give the place up; no error if it is gone already."""
    link = await guests_of(request).link(request, guest)
    desk_of(request).queue.leave(ticket, _holder(link))


@router.get("/{session_id}", responses=_CALL_ERRORS)
async def get_guest_call(request: Request, guest: GuestPass, session_id: CallId) -> GuestCall:
    """The guest's own call: whether it is open, how it ended."""
    return GuestCall.of(await guests_of(request).call(request, guest, session_id))


@router.get("/{session_id}/transcript", responses=_CALL_ERRORS)
async def get_guest_transcript(
    request: Request, guest: GuestPass, session_id: CallId
) -> GuestTranscript:
    """The guest's own words and the answers, as far as they are kept."""
    session = await guests_of(request).call(request, guest, session_id)
    turns = await asyncio.to_thread(desk_of(request).store.turns.list, session.id)
    known: dict[str, Any] = session.as_json()
    return GuestTranscript(
        **{name: known[name] for name in ("session_id", "state", "reason", "keep_transcript")},
        turns=[GuestTurn.model_validate(turn.as_json()) for turn in turns],
    )


@router.post("/{session_id}/end", responses=_CALL_ERRORS)
async def end_guest_call(request: Request, guest: GuestPass, session_id: CallId) -> GuestCall:
    """Hang up."""
    session = await guests_of(request).call(request, guest, session_id)
    return GuestCall.of(await desk_of(request).hang_up(session.id))


@router.post("/{session_id}/dispatch", responses=_CALL_ERRORS)
async def send_guest_agent(
    request: Request, guest: GuestPass, session_id: CallId
) -> dict[str, bool]:
    """Send an agent if none is in the room and none is on its way."""
    session = await guests_of(request).call(request, guest, session_id)
    return {"dispatched": await desk_of(request).call_agent(session.id)}


@router.post("/{session_id}/feedback", responses=_CALL_ERRORS)
async def give_guest_feedback(
    request: Request, guest: GuestPass, session_id: CallId, given: Feedback
) -> GuestCall:
    """What the guest thinks of the call; it takes the place of what they said before."""
    session = await guests_of(request).call(request, guest, session_id)
    store = desk_of(request).store
    return GuestCall.of(await judge(store, session.id, "caller", given))


def _holder(link: Link) -> str:
    return Visit("link", link_id=link.id).holder
