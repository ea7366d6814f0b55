"""The backups on a page: what there is, make, take away, replace, delete."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from appliance.errors import ApplianceError
from services.panel.access.audit import note
from services.panel.api.backups import BackupName, delete, replace
from services.panel.backups.office import backups_of
from services.panel.pages import render

router = APIRouter(prefix="/backups", include_in_schema=False)


@router.get("")
async def backups_page(request: Request) -> Response:
    """Every backup, and what is to be known of them."""
    return await _list(request, template="backups.html")


@router.post("/make")
async def make(request: Request) -> Response:
    """Make one now."""
    made = await backups_of(request).make()
    await note(request, "backup.made", object=made.name)
    return await _list(request, f"{made.name} is there and reads as it was written.")


@router.post("/check")
async def check(request: Request) -> Response:
    """Compare every digest."""
    overview = await backups_of(request).check()
    damaged = [one.name for one in overview.backups if one.state == "damaged"]
    return await _list(
        request,
        f"Damaged: {', '.join(damaged)}. Delete what you cannot use, and make a new one."
        if damaged
        else "Every backup that was made here is as it was written.",
        is_bad=bool(damaged),
    )


@router.post("/replace")
async def replace_marked(request: Request) -> Response:
    """Make one, then delete those with words of deleted calls."""
    made, gone = await replace(request)
    number = "1 backup is" if len(gone) == 1 else f"{len(gone)} backups are"
    return await _list(request, f"{made.name} is there, and {number} deleted.")


@router.post("/{name}/delete")
async def delete_one(request: Request, name: BackupName) -> Response:
    """Delete one."""
    await delete(request, name)
    return await _list(request, f"{name} is deleted.")


async def _list(
    request: Request, said: str = "", *, is_bad: bool = False, template: str = "_backups_list.html"
) -> Response:
    overview, error = None, None
    try:
        overview = await backups_of(request).look()
    except ApplianceError as failed:
        error = failed
    return render(
        request, template, active="backups", overview=overview, error=error, said=said,
        is_bad=is_bad,
    )  # fmt: skip
