"""The doctor's page: what the box finds in itself, and what this browser finds on its way to it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from services.panel.api.doctor import checkups_of, digests_of
from services.panel.pages import render

router = APIRouter(include_in_schema=False)


@router.get("/doctor")
async def doctor_page(request: Request) -> Response:
    """The page; it asks for the findings when it is open."""
    return render(
        request, "doctor.html", active="doctor", digests=digests_of(request).state(),
        settings=request.app.state.settings,
    )  # fmt: skip


@router.get("/doctor/box")
async def box_findings(request: Request) -> Response:
    """What the box finds in itself, as a part of the page."""
    return render(request, "_doctor_box.html", checkup=await checkups_of(request).look())


@router.get("/doctor/digests")
async def digest_findings(request: Request) -> Response:
    """How far the check of the models' bytes is."""
    return render(request, "_doctor_digests.html", digests=digests_of(request).state())


@router.post("/doctor/digests")
async def check_digests(request: Request) -> Response:
    """Begin it."""
    return render(request, "_doctor_digests.html", digests=digests_of(request).start())
