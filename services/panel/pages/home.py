"""The first page: does it work, and if not, why."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from appliance.explaining import moved_from
from appliance.proof.reports import latest
from services.panel.box.state import BoxState, box_of
from services.panel.pages import render

router = APIRouter(include_in_schema=False)

_WAITING = ("starting", "loading", "restarting")


@router.get("/")
async def home(request: Request) -> Response:
    """The whole box at a glance."""
    return await _page(request, "home.html")


@router.get("/parts/home")
async def home_now(request: Request) -> Response:
    """What changes on it, for the page that is already open."""
    return await _page(request, "_home.html")


async def _page(request: Request, template: str) -> Response:
    box = await box_of(request).state()
    moved = await asyncio.to_thread(moved_from, request.app.state.settings)
    proof = await asyncio.to_thread(latest, request.app.state.settings)
    return render(
        request, template, active="home", box=box, bar=bar_of(box), kind_of=kind_of,
        moved_from=moved,
        proof=proof,
    )  # fmt: skip


def kind_of(state: str) -> str:
    """How a program's state is coloured."""
    return "good" if state == "ready" else "warn" if state in _WAITING else "bad"


def bar_of(box: BoxState) -> list[tuple[str, str, float, float]]:
    """The memory as a bar of 1,000 units: name, title, where each part begins and how long it is."""
    bar: list[tuple[str, str, float, float]] = []
    start = 0.0
    for part in box.memory.parts:
        length = 1000 * part.bytes / box.memory.total if box.memory.total else 0.0
        bar.append((part.name, part.title, round(start, 1), round(length, 1)))
        start += length
    return bar
