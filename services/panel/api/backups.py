"""Backups, for programs: list, make, check, take away, delete. Restoring is done on the box."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from appliance.backup.looking import Overview, Shown, one_as_json
from appliance.backup.shelf import NAME
from services.panel.access.audit import note
from services.panel.backups.office import backups_of
from services.panel.opening import Responses

router = APIRouter(prefix="/api/v1/backups", tags=["backups"])
BackupName = Annotated[str, Path(pattern=NAME, examples=["earshot-20261121T030000Z.age"])]
_ERRORS: Responses = {
    400: {"description": "`bad_request`"},
    401: {"description": "`not_signed_in`"},
    403: {"description": "`scope_missing`"},
    409: {"description": "`backup_folder_gone`: its disk is not there"},
}
_CHANGES: Responses = {
    **_ERRORS,
    403: {"description": "`scope_missing`, `backup_no_recipient`: no key is set"},
    409: {"description": "`backup_under_way`, `backup_folder_gone`"},
}
_UNKNOWN: Responses = {404: {"description": "`backup_unknown`"}}


class _View(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BackupView(_View):
    """One backup, as far as it is known without its key."""

    name: str
    made_at: datetime
    size: int = Field(description="Bytes.")
    state: Literal["whole", "damaged", "unknown"] = Field(
        description="By its digest at the last check; unknown: it was not made by this box."
    )
    checked_at: datetime | None
    sha256: str = Field(description="Of the file; empty: unknown.")
    version: str = Field(description="Of Earshot, when it was made; empty: unknown.")
    database: bool | None = Field(
        description="Whether the calls, the password and the keys are in it; null: unknown."
    )
    calls: int = Field(description="Of how many calls it holds words.")
    recipient: str = Field(description="The key that it is sealed for; empty: unknown.")
    deleted_calls: int = Field(description="How many of the calls are deleted meanwhile.")
    held_until: datetime | None = Field(
        description="When it goes by itself, and the words of deleted calls with it; null: there "
        "are none, or it does not go by itself."
    )

    @classmethod
    def of(cls, one: Shown) -> BackupView:
        """As it is told."""
        return cls.model_validate(one_as_json(one))


class BackupList(_View):
    """Every backup, newest first, and when the next one is made."""

    recipient: str = Field(description="The key they are sealed for; empty: none are made.")
    folder: str
    keep: int = Field(description="How many are kept.")
    next_at: datetime | None
    database: bool = Field(description="Whether the box's database is in them.")
    backups: list[BackupView]

    @classmethod
    def of(cls, overview: Overview) -> BackupList:
        """As it is told."""
        return cls.model_validate(overview.as_json())


class Replaced(_View):
    """A new backup, and those that it took the place of."""

    made: BackupView
    deleted: list[str]


@router.get("", responses=_ERRORS)
async def list_backups(request: Request) -> BackupList:
    """Every backup, newest first."""
    return BackupList.of(await backups_of(request).look())


@router.post("", status_code=201, responses=_CHANGES)
async def make_backup(request: Request) -> BackupView:
    """Make a backup now; the answer comes when it is there."""
    made = await backups_of(request).make()
    await note(request, "backup.made", object=made.name)
    return BackupView.of(made)


@router.post("/check", responses=_ERRORS)
async def check_backups(request: Request) -> BackupList:
    """Read every backup and compare its digest."""
    return BackupList.of(await backups_of(request).check())


@router.post("/replace", responses=_CHANGES)
async def replace_backups(request: Request) -> Replaced:
    """Make a backup, then delete those that hold words of deleted calls."""
    made, gone = await replace(request)
    return Replaced(made=BackupView.of(made), deleted=gone)


@router.get("/{name}/file", responses={**_ERRORS, **_UNKNOWN}, response_class=FileResponse)
async def download_backup(request: Request, name: BackupName) -> FileResponse:
    """The sealed file; only its key opens it."""
    found = await backups_of(request).find(name)
    await note(request, "backup.downloaded", object=found.name)
    return FileResponse(found.path, media_type="application/octet-stream", filename=found.name)


@router.delete("/{name}", status_code=204, responses={**_ERRORS, **_UNKNOWN})
async def delete_backup(request: Request, name: BackupName) -> None:
    """Delete one backup."""
    await delete(request, name)


async def replace(request: Request) -> tuple[Shown, list[str]]:
    """For the page too: the new one, and the names of those that are gone; noted.

    Raises:
        ApplianceError: none could be made; then none is deleted.
    """
    made, gone = await backups_of(request).replace()
    await note(request, "backup.made", object=made.name)
    for name in gone:
        await note(request, "backup.deleted", object=name)
    return made, gone


async def delete(request: Request, name: str) -> None:
    """For the page too: delete one; noted.

    Raises:
        NotFound: there is none.
        ApplianceError: it cannot be deleted now.
    """
    await backups_of(request).delete(name)
    await note(request, "backup.deleted", object=name)
