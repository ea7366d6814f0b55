"""The settings as a form: change, look at the difference, save, restart what needs it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response

from appliance.errors import ApplianceError
from appliance.settings import Settings
from services.panel.access.audit import note
from services.panel.api.settings import LONGEST_FILE, keeper_of, note_saved, restarter_of
from services.panel.pages import render
from services.panel.settings_page.form import changes_of
from services.panel.settings_page.keeper import AllSettings, Keeper, Preview
from services.panel.settings_page.restarting import WHOLE_BOX_COMMAND

router = APIRouter(include_in_schema=False)


@router.get("/settings")
async def settings_page(request: Request, saved: bool = False) -> Response:
    """Every setting, what waits for a restart, export and import."""
    found = await asyncio.to_thread(keeper_of(request).look)
    return render(
        request, "settings.html", active="settings", all=found, saved=saved,
        personas=await _personas(request), **_restart_values(request, found),
    )  # fmt: skip


@router.post("/settings/review")
async def review(request: Request) -> Response:
    """What the form would change; the mistakes go beside their fields."""
    form = dict(await request.form())
    found, preview = await asyncio.to_thread(_review, keeper_of(request), form)
    names = [one.name for group in found.groups for one in group.settings if one.editable]
    return render(request, "_settings_review.html", all=found, preview=preview, names=names)


@router.post("/settings/save")
async def save(request: Request) -> Response:
    """Save what was reviewed."""
    form = dict(await request.form())
    keeper = keeper_of(request)
    found = await asyncio.to_thread(keeper.look)
    changes = changes_of(form, found.groups)
    saved = await asyncio.to_thread(keeper.save, changes, str(form.get("version", "")))
    await note_saved(request, saved)
    return _go("/settings?saved=true")


@router.post("/settings/import/review")
async def review_import(
    request: Request, text: Annotated[str, Form(max_length=LONGEST_FILE)] = ""
) -> Response:
    """What an imported file would change."""
    try:
        preview = await asyncio.to_thread(keeper_of(request).preview_import, text)
    except ApplianceError as error:
        return render(request, "_settings_import.html", error=error)
    return render(request, "_settings_import.html", preview=preview)


@router.post("/settings/import")
async def import_file(
    request: Request,
    version: Annotated[str, Form(max_length=64)],
    text: Annotated[str, Form(max_length=LONGEST_FILE)],
) -> Response:
    """Save an imported file."""
    saved = await asyncio.to_thread(keeper_of(request).save_import, text, version)
    await note_saved(request, saved)
    return _go("/settings?saved=true")


@router.get("/settings/waiting")
async def waiting(request: Request) -> Response:
    """What waits for a restart, for a page that watches it."""
    found = await asyncio.to_thread(keeper_of(request).look)
    return render(request, "_settings_waiting.html", all=found, **_restart_values(request, found))


@router.post("/settings/restart")
async def restart(request: Request) -> Response:
    """Restart every program that waits."""
    found = await asyncio.to_thread(keeper_of(request).look)
    hands = request.app.state.restarts
    programs = await restarter_of(request).restart(hands, found.waiting.programs)
    await note(request, "program.restarted", object=" ".join(programs))
    return render(request, "_settings_waiting.html", all=found, **_restart_values(request, found))


def _review(keeper: Keeper, form: dict[str, Any]) -> tuple[AllSettings, Preview]:
    found = keeper.look()
    return found, keeper.preview(changes_of(form, found.groups))


def _restart_values(request: Request, found: AllSettings) -> dict[str, Any]:
    restarter = restarter_of(request)
    return {
        "busy": restarter.busy,
        "whole_box": "box" in found.waiting.programs,
        "command": WHOLE_BOX_COMMAND,
    }


async def _personas(request: Request) -> list[str]:
    """Names that may be chosen; the page opens also where a file is broken."""
    settings: Settings = request.app.state.settings
    return await asyncio.to_thread(
        lambda: sorted({p.stem for folder in settings.persona_dirs for p in folder.glob("*.yaml")})
    )


def _go(address: str) -> Response:
    return Response(status_code=204, headers={"HX-Redirect": address})
