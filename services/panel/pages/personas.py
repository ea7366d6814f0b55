"""The personas: a list, and a form for each with a talk by text beside it."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from appliance.personas import Persona
from services.panel.pages import render
from services.panel.personas.keeping import personas_of
from services.panel.personas.offering import offer

router = APIRouter(include_in_schema=False)


@router.get("/personas")
async def personas_page(request: Request) -> Response:
    """All of them."""
    found = await asyncio.to_thread(personas_of(request).list)
    return render(request, "personas.html", active="personas", personas=found)


@router.get("/personas/{name}")
async def persona_page(request: Request, name: str) -> Response:
    """One of them, to be read, changed and tried."""
    kept = await asyncio.to_thread(personas_of(request).get, name)
    persona = kept.file.persona
    if persona is None:
        return render(request, "persona_broken.html", active="personas", kept=kept)
    choices = await asyncio.to_thread(offer, request.app.state.settings, persona)
    return render(
        request, "persona.html", active="personas", kept=kept, persona=persona, offer=choices,
        limits=_limits(),
    )  # fmt: skip


def _limits() -> dict[str, int]:
    """The longest texts, as the form says them to the browser."""
    properties = Persona.model_json_schema()["properties"]
    return {
        name: int(rule["maxLength"]) for name, rule in properties.items() if "maxLength" in rule
    }
