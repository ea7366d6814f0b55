"""What the owner does with join links. For the page and the API."""

from __future__ import annotations

import asyncio
import io
from datetime import UTC, datetime, timedelta

import segno
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from appliance import logs
from appliance.errors import ApplianceError
from appliance.personas import PersonaName
from appliance.store import Session
from appliance.store.links import Link, LinkState, Terms
from services.panel.access.audit import note
from services.panel.desk import Desk
from services.panel.guests import guests_of, link_address
from services.panel.opening import desk_of

ENDED_BY_REVOKING = "the owner took the link back"
_SAID_TO_GUEST = "The owner of this box took the link back and ended the call."
_LONGEST_VALID_H = 24 * 366
_QR_SCALE = 8

log = logs.get(__name__)


class NewLink(BaseModel):
    """What a link shall allow."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(
        min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$",
        description="For the owner's list; the guest sees it too.", examples=["Reception"],
    )  # fmt: skip
    persona: PersonaName | None = Field(None, description="Who answers; null: the box's default.")
    uses: int | None = Field(None, ge=1, le=100_000, description="Calls; null: any number.")
    minutes: int | None = Field(
        None, ge=1, le=1440, description="Longest call, in minutes; null: the box's own limit."
    )
    hours: int | None = Field(
        None, ge=1, le=_LONGEST_VALID_H,
        description="How long it opens calls, in hours from now; null: until it is taken back.",
    )  # fmt: skip
    text_only: bool = Field(False, description="Whether the guest may write only.")


class LinkView(BaseModel):
    """One link as the owner sees it."""

    id: str
    name: str
    persona: str
    state: LinkState
    url: str
    uses: int
    uses_allowed: int | None
    max_s: int
    """Longest call in seconds: the link's or the box's limit, whichever is shorter."""
    text_only: bool
    created_at: str
    valid_until: str | None
    revoked_at: str | None
    open_calls: int


async def make_link(request: Request, wanted: NewLink) -> LinkView:
    """Make a link.

    Raises:
        NotFound: there is no such persona, or its voice is not installed.
        Refused: the persona asks for a language model that is not loaded.
    """
    desk = desk_of(request)
    persona = await asyncio.to_thread(desk.persona, wanted.persona or desk.settings.persona)
    terms = Terms(
        wanted.name.strip(), persona.name, wanted.uses,
        wanted.minutes * 60 if wanted.minutes else None, wanted.text_only,
        datetime.now(UTC) + timedelta(hours=wanted.hours) if wanted.hours else None,
    )  # fmt: skip
    link = await asyncio.to_thread(desk.store.links.create, terms)
    await note(request, "link.created", object=link.id, name=link.name, persona=link.persona)
    return view(request, link, [])


async def all_links(request: Request) -> list[LinkView]:
    """Every link, the newest first."""
    store = desk_of(request).store
    links = await asyncio.to_thread(store.links.list)
    calls = await asyncio.to_thread(store.sessions.open)
    return [view(request, link, calls) for link in links]


async def one_link(request: Request, link_id: str) -> LinkView:
    """One link.

    Raises:
        NotFound: there is none of this id.
    """
    store = desk_of(request).store
    link = await asyncio.to_thread(store.links.get, link_id)
    return view(request, link, await asyncio.to_thread(store.sessions.of_link, link_id))


async def revoke_link(request: Request, link_id: str, *, end_calls: bool) -> LinkView:
    """Take a link back; its calls go on unless they are ended with it.

    Raises:
        NotFound: there is none of this id.
    """
    desk = desk_of(request)
    link = await asyncio.to_thread(desk.store.links.revoke, link_id)
    calls = await asyncio.to_thread(desk.store.sessions.of_link, link_id)
    await note(request, "link.revoked", object=link.id, name=link.name, ended=end_calls)
    if end_calls:
        await asyncio.gather(*(_end(desk, call) for call in calls))
        calls = []
    return view(request, link, calls)


async def delete_link(request: Request, link_id: str) -> None:
    """Take a link back and forget it.

    Raises:
        NotFound: there is none of this id.
    """
    await asyncio.to_thread(desk_of(request).store.links.delete, link_id)
    await note(request, "link.deleted", object=link_id)


async def _end(desk: Desk, session: Session) -> None:
    try:
        await desk.rooms.notify(session.room_name, "link_revoked", _SAID_TO_GUEST)
    except ApplianceError as error:
        # The reason tells the guest's page the same once the call is over.
        log.warning("guest_not_notified", session=session.id, code=error.code)
    await desk.hang_up(session.id, ENDED_BY_REVOKING)


def view(request: Request, link: Link, calls: list[Session]) -> LinkView:
    """A link as the owner sees it; ``calls`` are open ones."""
    limit_s = desk_of(request).settings.agent.max_call_s
    return LinkView(
        id=link.id,
        name=link.name,
        persona=link.persona,
        state=link.state(datetime.now(UTC)),
        url=link_address(desk_of(request).settings, guests_of(request).passes, link),
        uses=link.uses,
        uses_allowed=link.uses_allowed,
        max_s=min(link.max_s or limit_s, limit_s),
        text_only=link.text_only,
        created_at=link.created_at.isoformat(),
        valid_until=link.valid_until.isoformat() if link.valid_until else None,
        revoked_at=link.revoked_at.isoformat() if link.revoked_at else None,
        open_calls=sum(1 for call in calls if call.link_id == link.id),
    )


def qr_code(url: str) -> bytes:
    """The address as an SVG to be scanned; dark on white, whatever the page's colours are."""
    drawn = io.BytesIO()
    segno.make(url, error="m", micro=False).save(
        drawn, kind="svg", scale=_QR_SCALE, border=4, dark="#000", light="#fff", xmldecl=False
    )
    return drawn.getvalue()
