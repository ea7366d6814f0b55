"""The page of the models: what is here, what fits, what serves."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from services.panel.models.office import office_of
from services.panel.models.shelf import size_text
from services.panel.pages import render

router = APIRouter(include_in_schema=False)

TASKS = (
    ("stt", "Ear", "turns speech into text"),
    ("llm", "Language model", "thinks of the answer"),
    ("tts", "Voice", "speaks the answer"),
)


@router.get("/models")
async def models(request: Request) -> Response:
    """Every model, with what can be done with it."""
    office = office_of(request)
    found, room = await asyncio.gather(office.shelf.look(), asyncio.to_thread(office.shelf.room))
    return render(
        request, "models.html", active="models", tasks=TASKS, models=found, room=room,
        size=size_text, work=office.workshop.known(), switch=office.switcher.state(),
        disk_free=await asyncio.to_thread(office.shelf.disk_free),
    )  # fmt: skip
