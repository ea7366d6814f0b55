"""The page of the models: what is here, what fits, what serves."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from appliance.catalogue.staging import about
from services.panel.models.office import office_of
from services.panel.models.shelf import size_text
from services.panel.pages import render

router = APIRouter(include_in_schema=False)

TASKS = (
    ("stt", "Ear", "turns speech into text"),
    ("llm", "Language model", "thinks of the answer"),
    ("tts", "Voice", "speaks the answer"),
)
STEPS = (
    ("checking", "Files checked"),
    ("draining", "Callers told"),
    ("stopping", "Old model stopped"),
    ("starting", "New model loaded"),
    ("canary", "Tried with a question"),
    ("committed", "Serves"),
)


@router.get("/models")
async def models(request: Request) -> Response:
    """Every model, with what can be done with it."""
    office = office_of(request)
    room, disk_free = await asyncio.gather(
        asyncio.to_thread(office.shelf.room), asyncio.to_thread(office.shelf.disk_free)
    )
    return render(
        request, "models.html", active="models", room=room, disk_free=disk_free,
        **await _list(request), **_switch(request),
    )  # fmt: skip


@router.get("/models/parts/list")
async def list_part(request: Request) -> Response:
    """The list alone, to be put in the place of an older one."""
    return render(request, "_models_list.html", **await _list(request))


@router.get("/models/parts/switch")
async def switch_part(request: Request) -> Response:
    """The change that is under way, alone."""
    return render(request, "_models_switch.html", **_switch(request))


async def _list(request: Request) -> dict[str, Any]:
    office = office_of(request)
    return {
        "tasks": TASKS, "models": await office.shelf.look(), "size": size_text,
        "about": about, "work": office.workshop.known(),
    }  # fmt: skip


def _switch(request: Request) -> dict[str, Any]:
    return {"switch": office_of(request).switcher.state(), "step_names": STEPS}
