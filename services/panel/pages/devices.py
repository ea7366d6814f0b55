"""Other devices: how phones and computers of the network reach the box, and why they may trust it."""

from __future__ import annotations

import asyncio
import io

import segno
from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from appliance.errors import NotFound
from appliance.explaining import MEDIA_TYPES, authority_files, way_in
from appliance.settings import Settings
from services.panel.pages import render

router = APIRouter(prefix="/devices", include_in_schema=False)


@router.get("")
async def devices(request: Request) -> Response:
    """Address, code, fingerprint and certificate; or why the door is closed."""
    settings = _settings(request)
    found = await asyncio.to_thread(way_in, settings)
    return render(
        request, "devices.html", active="devices", way=found, settings=settings,
        code=qr_inline(found.url) if found.url else "",
    )  # fmt: skip


@router.get("/{name}")
async def authority_file(request: Request, name: str) -> Response:
    """One of the files that make a device trust the box."""
    found = await asyncio.to_thread(way_in, _settings(request))
    if name not in MEDIA_TYPES or found.certificate is None or not found.certificate.root_pem:
        raise NotFound("page_unknown", "There is no such page.", "Open the page Other devices.")
    files = await asyncio.to_thread(authority_files, found.certificate.root_pem)
    headers = {"Content-Disposition": f'attachment; filename="{_saved_as(name)}"'}
    return Response(files[name], media_type=MEDIA_TYPES[name], headers=headers)


def qr_inline(url: str) -> Markup:
    """The address as an SVG within the page; dark on white, whatever the page's colours are."""
    drawn = io.BytesIO()
    segno.make(url, error="m", micro=False).save(
        drawn, kind="svg", border=4, dark="#000", light="#fff", xmldecl=False, svgns=False,
        omitsize=True, nl=False,
    )  # fmt: skip
    # An address holds no markup, and segno writes none of it into the drawing.
    return Markup(drawn.getvalue().decode("ascii"))  # noqa: S704


def _saved_as(name: str) -> str:
    """A name that says whose it is; systems know .cer, not .der."""
    return {"root.crt": "earshot-root.crt", "root.der": "earshot-root.cer"}.get(name, name)


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings
