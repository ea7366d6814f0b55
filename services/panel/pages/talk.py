"""The page people talk on."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from appliance.errors import ApplianceError
from appliance.personas import find_persona
from appliance.settings import Settings
from services.panel.pages import render

router = APIRouter()


@router.get("/talk")
async def talk(request: Request) -> Response:
    """One button and the conversation."""
    settings: Settings = request.app.state.settings
    values = await asyncio.to_thread(_persona_values, settings)
    return render(request, "talk.html", active="talk", **values)


def _persona_values(settings: Settings) -> dict[str, Any]:
    try:
        persona = find_persona(settings.persona, settings.persona_dirs)
    except ApplianceError:
        # The page still opens; the call itself then says what is wrong with the persona.
        return {"persona_title": settings.persona}
    return {
        "persona_title": persona.title or persona.name,
        "keep_transcript": persona.keep_transcript,
    }
