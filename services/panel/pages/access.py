"""Join links on a page: list, make, show, print, take back."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from appliance.addresses import lan_url
from appliance.errors import ApplianceError, BadInput
from appliance.settings import Settings
from services.panel import links
from services.panel.api.links import LinkId
from services.panel.links import NewLink
from services.panel.opening import desk_of
from services.panel.pages import render
from services.panel.pages.talk import answerers

router = APIRouter(prefix="/access", include_in_schema=False)
_UNITS = {"hours": 1, "days": 24}
_LABELS = {
    "name": "the name", "persona": "who answers", "uses": "the number of calls",
    "minutes": "the minutes", "hours": "how long it is valid",
}  # fmt: skip


@router.get("")
async def access(request: Request) -> Response:
    """Every link, and the dialog that makes one."""
    settings = desk_of(request).settings
    return render(
        request, "access.html", active="access", tab="links",
        links=await links.all_links(request), reach=reach_of(settings),
        personas=await asyncio.to_thread(answerers, settings), given={}, mistake="",
    )  # fmt: skip


@router.post("/links")
async def make(request: Request) -> Response:
    """Make a link from the dialog's form, then show it."""
    given = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
    try:
        made = await links.make_link(request, _wanted(given))
    except ApplianceError as error:
        settings = desk_of(request).settings
        return render(
            request, "_link_form.html", status=422, given=given, mistake=str(error),
            personas=await asyncio.to_thread(answerers, settings),
        )  # fmt: skip
    return _go(f"/access/links/{made.id}")


@router.get("/links/{link_id}")
async def show(request: Request, link_id: LinkId) -> Response:
    """One link: its address, its code, what it allows."""
    link = await links.one_link(request, link_id)
    return render(
        request, "access_link.html", active="access", tab="links", link=link,
        reach=reach_of(desk_of(request).settings),
    )  # fmt: skip


@router.get("/links/{link_id}/print")
async def show_for_print(request: Request, link_id: LinkId) -> Response:
    """The code and the address alone, for paper."""
    return render(request, "access_print.html", link=await links.one_link(request, link_id))


@router.post("/links/{link_id}/revoke")
async def revoke(request: Request, link_id: LinkId) -> Response:
    """Take it back; its calls go on."""
    await links.revoke_link(request, link_id, end_calls=False)
    return _go("/access")


@router.post("/links/{link_id}/revoke-and-end")
async def revoke_and_end(request: Request, link_id: LinkId) -> Response:
    """Take it back and end its calls; the guests are told."""
    await links.revoke_link(request, link_id, end_calls=True)
    return _go("/access")


@router.post("/links/{link_id}/delete")
async def delete(request: Request, link_id: LinkId) -> Response:
    """Forget it."""
    await links.delete_link(request, link_id)
    return _go("/access")


def reach_of(settings: Settings) -> str:
    """Who can open a link: ``here`` this machine alone, ``lan`` who trusts the box, ``all``."""
    if settings.public_url:
        return "all"
    found = lan_url(settings)
    return "here" if not found else "all" if settings.front.certificate else "lan"


def _wanted(given: dict[str, str]) -> NewLink:
    """The form's fields; an empty one asks for nothing.

    Raises:
        BadInput: names the field that is wrong.
    """
    values: dict[str, Any] = {
        name: given[name] for name in ("name", "persona", "uses", "minutes") if given.get(name)
    }
    values["text_only"] = given.get("text_only") == "on"
    valid = given.get("valid", "")
    try:
        if valid:
            values["hours"] = int(valid) * _UNITS[given.get("valid_unit", "days")]
        return NewLink.model_validate(values)
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][0])
        raise _mistake(_LABELS.get(field, "the form")) from error
    except (ValueError, KeyError) as error:
        raise _mistake(_LABELS["hours"]) from error


def _mistake(what: str) -> BadInput:
    return BadInput("bad_request", f"Something is wrong with {what}.", "Change it and try again.")


def _go(address: str) -> Response:
    return Response(status_code=204, headers={"HX-Redirect": address})
