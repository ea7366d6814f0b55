"""The page a join link opens: one call and nothing else."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response

from appliance.errors import ApplianceError
from appliance.personas import Persona, find_persona
from appliance.settings import Settings
from services.panel.guests import guests_of
from services.panel.pages import render
from services.panel.retention import retention_sentence

router = APIRouter(include_in_schema=False)


@router.get("/join/{token}")
async def join(request: Request, token: str) -> Response:
    """Who answers, what is kept and for how long, and a button; or why there is no call."""
    try:
        link = await guests_of(request).link(request, token)
        link.require(datetime.now(UTC))
    except ApplianceError as error:
        return render(request, "join_closed.html", status=error.http_status, error=error)
    settings: Settings = request.app.state.settings
    persona = await asyncio.to_thread(_persona, link.persona, settings)
    longest_s = min(link.max_s or settings.agent.max_call_s, settings.agent.max_call_s)
    return render(
        request, "join.html",
        link=link, api="/api/v1/guest/sessions", guest=token, persona=link.persona,
        persona_title=(persona and persona.title) or link.persona,
        retention=retention_sentence(persona, settings), text_only=link.text_only,
        ask_name=True, feedback=True, minutes=max(1, longest_s // 60),
    )  # fmt: skip


def _persona(name: str, settings: Settings) -> Persona | None:
    try:
        return find_persona(name, settings.persona_dirs)
    except ApplianceError:
        # The page still opens; the call itself then says what is wrong with the persona.
        return None
