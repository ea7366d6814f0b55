"""How fast the box answers: measured at a press, drawn, and what was measured before."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Form, Path, Request, Response

from appliance.errors import ApplianceError, BadInput
from services.panel.access.audit import note
from services.panel.measuring import MOST_TURNS, Wish, measuring_of
from services.panel.pages import render

router = APIRouter(prefix="/speed", include_in_schema=False)
Name = Annotated[str, Path(max_length=60)]


@router.get("")
async def speed_page(request: Request) -> Response:
    """The page."""
    return await _show(request, "speed.html")


@router.get("/state")
async def state(request: Request) -> Response:
    """How far it is: that line alone while one runs, then the whole part with what came of it."""
    progress = measuring_of(request).progress()
    if progress.running:
        return render(request, "_speed_progress.html", progress=progress)
    shown = await _show(request)
    shown.headers["HX-Retarget"] = "#speed"
    return shown


@router.post("/measure")
async def measure(
    request: Request,
    rooms: Annotated[int, Form(ge=1, le=64)],
    turns: Annotated[int, Form(ge=1)],
    overlap: Annotated[bool, Form()] = False,
) -> Response:
    """Begin."""
    if turns > MOST_TURNS:
        raise BadInput(
            "bad_request", f"A caller asks at most {MOST_TURNS} questions here.",
            "`scripts/appliance bench --turns` takes more.",
        )  # fmt: skip
    try:
        await measuring_of(request).start(Wish(rooms, turns, overlap))
    except ApplianceError as error:
        return await _show(request, refused=error)
    await note(request, "measurement.started", rooms=rooms, turns=turns)
    return await _show(request)


@router.post("/stop")
async def stop(request: Request) -> Response:
    """End the one that runs; where it is over already, show what came of it."""
    if await measuring_of(request).stop():
        await note(request, "measurement.stopped")
    return await _show(request)


@router.get("/{name}.svg")
async def picture(request: Request, name: Name) -> Response:
    """The picture of a result."""
    found = await asyncio.to_thread(measuring_of(request).file, name, ".svg")
    return Response(found, media_type="image/svg+xml")


@router.get("/{name}.json")
async def figures(request: Request, name: Name) -> Response:
    """Every turn of a result."""
    found = await asyncio.to_thread(measuring_of(request).file, name, ".json")
    return Response(found, media_type="application/json")


async def _show(
    request: Request, template: str = "_speed.html", refused: ApplianceError | None = None
) -> Response:
    measuring = measuring_of(request)
    kept = await asyncio.to_thread(measuring.kept)
    return render(
        request, template, active="doctor", progress=measuring.progress(), kept=kept,
        refused=refused, seats=measuring.seats, most_turns=MOST_TURNS,
    )  # fmt: skip
