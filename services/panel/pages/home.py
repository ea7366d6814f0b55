"""The first page: does it work, and if not, why."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from services.panel.pages import render
from services.panel.readiness import Readiness

router = APIRouter()


@router.get("/", include_in_schema=False)
async def home(request: Request) -> Response:
    """The whole box at a glance."""
    readiness: Readiness = request.app.state.readiness
    return render(request, "home.html", active="home", box=await readiness.look())
