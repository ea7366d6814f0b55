"""The page people talk on."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.templating import Jinja2Templates

from appliance import __version__
from appliance.errors import ApplianceError
from appliance.personas import find_persona
from appliance.settings import Settings

HERE = Path(__file__).resolve().parent

router = APIRouter()
_templates = Jinja2Templates(HERE / "templates")


@router.get("/")
async def talk(request: Request) -> Response:
    """One button and the conversation."""
    settings: Settings = request.app.state.settings
    values = await asyncio.to_thread(_persona_values, settings)
    return _templates.TemplateResponse(request, "talk.html", {"version": __version__, **values})


def _persona_values(settings: Settings) -> dict[str, str | bool]:
    try:
        persona = find_persona(settings.persona, settings.persona_dirs)
    except ApplianceError:
        # The page still opens; the call itself then says what is wrong with the persona.
        return {"persona_title": settings.persona}
    return {
        "persona_title": persona.title or persona.name,
        "keep_transcript": persona.keep_transcript,
    }
