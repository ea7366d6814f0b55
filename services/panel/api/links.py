"""Join links for programs: list, make, take back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.panel import links
from services.panel.links import LinkView, NewLink
from services.panel.opening import Responses

router = APIRouter(prefix="/api/v1/links", tags=["links"])
LinkId = Annotated[str, Path(pattern="^[0-9a-f]{16}$", examples=["5f0d3c2b1a998877"])]
_ERRORS: Responses = {
    400: {"description": "`bad_request`"},
    401: {"description": "`not_signed_in`"},
    403: {"description": "`scope_missing`, `persona_model_not_loaded`"},
    413: {"description": "`body_too_large`"},
}
_UNKNOWN: Responses = {**_ERRORS, 404: {"description": "`link_unknown`"}}


class LinkList(BaseModel):
    """Every link."""

    links: list[LinkView]


class Revoking(BaseModel):
    """How a link is taken back."""

    model_config = ConfigDict(extra="forbid")
    end_calls: bool = Field(False, description="Whether its running calls end now.")


@router.get("", responses=_ERRORS)
async def list_links(request: Request) -> LinkList:
    """Every link, the newest first; each with its address."""
    return LinkList(links=await links.all_links(request))


@router.post(
    "",
    status_code=201,
    responses={**_ERRORS, 404: {"description": "`persona_unknown`, `persona_voice_missing`"}},
)
async def create_link(request: Request, wanted: NewLink) -> LinkView:
    """Make a link."""
    return await links.make_link(request, wanted)


@router.get("/{link_id}", responses=_UNKNOWN)
async def get_link(request: Request, link_id: LinkId) -> LinkView:
    """One link."""
    return await links.one_link(request, link_id)


@router.get(
    "/{link_id}/qr.svg",
    responses={**_UNKNOWN, 200: {"content": {"image/svg+xml": {}}}},
    response_class=Response,
)
async def get_link_code(request: Request, link_id: LinkId) -> Response:
    """The link's address as a QR code."""
    link = await links.one_link(request, link_id)
    return Response(links.qr_code(link.url), media_type="image/svg+xml")


@router.post("/{link_id}/revoke", responses=_UNKNOWN)
async def revoke_link(request: Request, link_id: LinkId, how: Revoking | None = None) -> LinkView:
    """Take a link back; it opens no more calls."""
    return await links.revoke_link(request, link_id, end_calls=bool(how and how.end_calls))


@router.delete("/{link_id}", status_code=204, responses=_UNKNOWN)
async def delete_link(request: Request, link_id: LinkId) -> None:
    """Take a link back and forget it; calls that run go on."""
    await links.delete_link(request, link_id)
