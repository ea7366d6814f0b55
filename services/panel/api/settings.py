"""The settings, for programs: read, try a change, save, take out, bring in, restart for them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.panel.access.audit import note
from services.panel.settings_page.keeper import AllSettings, Keeper, Preview, Saved
from services.panel.settings_page.restarting import Restarter
from services.panel.settings_page.waiting import Waiting

router = APIRouter(prefix="/api/v1/settings", tags=["settings"])

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "`setting_invalid`, `setting_unknown`, `setting_fixed`, `bad_request` …"},
    409: {"description": "`settings_changed` meanwhile, or `settings_unreadable`"},
}
LONGEST_FILE = 60_000
"""Of an imported settings.toml, in characters."""

Name = Annotated[str, StringConstraints(max_length=100)]
Text = Annotated[str, StringConstraints(max_length=2000)]
Given = bool | int | float | Text | Annotated[list[Text], Field(max_length=100)] | None


class Changes(BaseModel):
    """New values by name; null goes back to the default."""

    model_config = ConfigDict(extra="forbid")
    changes: dict[Name, Given] = Field(max_length=200)


class VersionedChanges(Changes):
    """The same, with the version that they were made on."""

    version: str = Field(max_length=64, description="`version` of the settings as they were read.")


class Import(BaseModel):
    """A settings.toml."""

    model_config = ConfigDict(extra="forbid")
    text: str = Field(max_length=LONGEST_FILE)


class VersionedImport(Import):
    """The same, with the version that it was tried on."""

    version: str = Field(max_length=64)


class Restart(BaseModel):
    """Programs to restart."""

    model_config = ConfigDict(extra="forbid")
    programs: list[Name] = Field(min_length=1, max_length=10)


class Restarting(BaseModel):
    """Programs that are being restarted, in this order."""

    programs: list[str]


def keeper_of(request: Request) -> Keeper:
    """The box's keeper of settings."""
    keeper: Keeper = request.app.state.keeper
    return keeper


def restarter_of(request: Request) -> Restarter:
    """Who restarts the box's programs."""
    restarter: Restarter = request.app.state.restarter
    return restarter


@router.get("")
async def get_settings(request: Request) -> AllSettings:
    """Every setting with its value, bounds, help and what its change restarts. No secret is in it."""
    return await asyncio.to_thread(keeper_of(request).look)


@router.post("/preview", responses=_ERRORS)
async def preview(request: Request, wanted: Changes) -> Preview:
    """What a change would do; nothing is saved."""
    return await asyncio.to_thread(keeper_of(request).preview, wanted.changes)


@router.patch("", responses=_ERRORS)
async def change_settings(request: Request, wanted: VersionedChanges) -> Saved:
    """Save a change, all of it or nothing. Programs read it when they start again."""
    saved = await asyncio.to_thread(keeper_of(request).save, wanted.changes, wanted.version)
    await note_saved(request, saved)
    return saved


@router.get(
    "/export",
    responses={**_ERRORS, 200: {"content": {"application/toml": {}}}},
    response_class=Response,
)
async def export_settings(request: Request) -> Response:
    """The settings as a settings.toml, without secrets and without this machine's folders."""
    text = await asyncio.to_thread(keeper_of(request).export)
    await note(request, "settings.exported")
    headers = {"Content-Disposition": 'attachment; filename="earshot-settings.toml"'}
    return Response(text, media_type="application/toml", headers=headers)


@router.post("/import/preview", responses=_ERRORS)
async def preview_import(request: Request, wanted: Import) -> Preview:
    """What bringing in a settings.toml would change; nothing is saved."""
    return await asyncio.to_thread(keeper_of(request).preview_import, wanted.text)


@router.post("/import", responses=_ERRORS)
async def import_settings(request: Request, wanted: VersionedImport) -> Saved:
    """Bring in a settings.toml: what it does not name goes back to the default; secrets stay."""
    saved = await asyncio.to_thread(keeper_of(request).save_import, wanted.text, wanted.version)
    await note_saved(request, saved)
    return saved


@router.get("/waiting")
async def get_waiting(request: Request) -> Waiting:
    """Saved settings that are not in force yet, and the programs to restart for them."""
    return await asyncio.to_thread(keeper_of(request).waiting)


@router.post(
    "/restart", status_code=202,
    responses={
        400: {"description": "`program_unknown`, `whole_box`"},
        503: {"description": "`not_ready`: nobody supervises the programs, or a restart is under way."},
    },
)  # fmt: skip
async def restart_programs(request: Request, wanted: Restart) -> Restarting:
    """Begin to restart these programs. Calls go on; one whose agent or model restarts pauses."""
    hands = request.app.state.restarts
    programs = await restarter_of(request).restart(hands, wanted.programs)
    await note(request, "program.restarted", object=" ".join(programs))
    return Restarting(programs=programs)


async def note_saved(request: Request, saved: Saved) -> None:
    """Write down which settings were changed; their values may be nobody's business."""
    if saved.changes:
        names = [change.name for change in saved.changes]
        await note(request, "settings.changed", object="settings.toml", names=names)
