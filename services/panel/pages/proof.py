"""The last offline proof, to be read and to be printed."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from appliance.proof.reports import WHY_PROBE
from services.panel.api.proof import proof_of
from services.panel.pages import render

router = APIRouter(include_in_schema=False)


@router.get("/proof")
async def proof_page(request: Request) -> Response:
    """The page."""
    return render(
        request, "proof.html", active="home", proof=await proof_of(request), why_probe=WHY_PROBE
    )
