"""The page people talk on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from appliance.catalogue.personas import check_persona
from appliance.errors import ApplianceError
from appliance.personas import Persona, find_persona
from appliance.settings import Settings
from services.panel.pages import render
from services.panel.retention import retention_sentence

router = APIRouter()


@dataclass(frozen=True)
class Answerer:
    """A persona that can take a call, as the page offers it."""

    name: str
    title: str
    retention: str


@router.get("/talk", include_in_schema=False)
async def talk(request: Request) -> Response:
    """One button and the conversation."""
    settings: Settings = request.app.state.settings
    personas = await asyncio.to_thread(answerers, settings)
    chosen = next((one for one in personas if one.name == settings.persona), None)
    # Without it the page still opens; the call itself then says what is wrong with the persona.
    chosen = chosen or Answerer(
        settings.persona, settings.persona, retention_sentence(None, settings)
    )
    return render(
        request, "talk.html", active="talk",
        persona=chosen.name, persona_title=chosen.title, retention=chosen.retention,
        personas=personas,
    )  # fmt: skip


def answerers(settings: Settings) -> list[Answerer]:
    """The personas that this box can serve now, the one of the settings first, then by title."""
    names = {path.stem for folder in settings.persona_dirs for path in folder.glob("*.yaml")}
    found = []
    for name in names:
        try:
            persona = find_persona(name, settings.persona_dirs)
            check_persona(settings, persona)
        except ApplianceError:
            # Its own page says what is wrong with it.
            continue
        found.append(_answerer(persona, settings))
    return sorted(found, key=lambda one: (one.name != settings.persona, one.title.lower()))


def _answerer(persona: Persona, settings: Settings) -> Answerer:
    return Answerer(
        persona.name, persona.title or persona.name, retention_sentence(persona, settings)
    )
