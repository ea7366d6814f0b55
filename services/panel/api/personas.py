"""Personas: list, make, change, clone, rename, remove, try by text, bring in and take out as YAML."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from appliance.catalogue.personas import check_persona
from appliance.personas import Persona, PersonaName
from services.panel.access.audit import note
from services.panel.personas.keeping import Kept, personas_of
from services.panel.personas.trying import Trial, question
from services.panel.speech.relay import asked_instead

router = APIRouter(prefix="/api/v1/personas", tags=["personas"])

_LONGEST_IMPORT = 300_000


def _errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    told = {
        400: "`bad_request`, `persona_invalid`, `persona_unreadable`, `persona_too_large`",
        403: "`scope_missing`, `persona_model_not_loaded`, `persona_built_in`, `persona_in_use`",
        404: "`persona_unknown`, `persona_voice_missing`",
        409: "`persona_exists`, `persona_changed`",
        413: "`body_too_large`",
        503: "`busy`, `not_ready`",
    }
    return {code: {"description": told[code]} for code in codes}


_WRITE_ERRORS = _errors(400, 403, 404, 409, 413)


class PersonaRow(BaseModel):
    """One persona of the list."""

    name: str
    title: str
    own: bool = Field(description="False: it came with Earshot and can only be cloned.")
    covers_built_in: bool = Field(description="A built-in one of this name comes back without it.")
    is_default: bool = Field(description="It answers calls that name no persona.")
    problem: str = Field(description="Why it cannot take a call now; empty if it can.")
    uses: list[str] = Field(description="Who needs it, in words.")
    version: str = Field(description="To be sent back when it is changed or deleted.")


class PersonaView(PersonaRow):
    """One persona with what it says; null if its file cannot be used."""

    persona: Persona | None


class PersonaList(BaseModel):
    """All personas, by title."""

    personas: list[PersonaRow]


class NewPersona(BaseModel):
    """A persona to be kept."""

    model_config = ConfigDict(extra="forbid")
    persona: Persona
    cover_built_in: bool = Field(False, description="It may go before a built-in one of its name.")


class ChangedPersona(BaseModel):
    """What a persona is to be from now on; under another name it is renamed."""

    model_config = ConfigDict(extra="forbid")
    persona: Persona
    version: str = Field(max_length=64)


class Clone(BaseModel):
    """The copy's name; the same name makes an own copy of a built-in persona."""

    model_config = ConfigDict(extra="forbid")
    name: PersonaName


class Import(BaseModel):
    """A persona's file."""

    model_config = ConfigDict(extra="forbid")
    yaml: str = Field(max_length=_LONGEST_IMPORT)
    name: PersonaName | None = Field(None, description="Another name than the file's.")
    replace: bool = Field(False, description="Take the place of the owner's one of this name.")


@router.get("")
async def list_personas(request: Request) -> PersonaList:
    """All of them, also those that cannot be used."""
    found = await asyncio.to_thread(personas_of(request).list)
    return PersonaList(personas=[PersonaRow(**_row(kept)) for kept in found])


@router.post("", status_code=201, responses=_WRITE_ERRORS)
async def create_persona(request: Request, wanted: NewPersona) -> PersonaView:
    """Keep a new one."""
    kept = await asyncio.to_thread(
        personas_of(request).create, wanted.persona, cover=wanted.cover_built_in
    )
    await note(request, "persona.created", object=kept.file.name)
    return _view(kept)


@router.post("/import", status_code=201, responses=_WRITE_ERRORS)
async def import_persona(request: Request, wanted: Import) -> PersonaView:
    """Keep one that comes as a file."""
    kept = await asyncio.to_thread(
        personas_of(request).bring, wanted.yaml, wanted.name, replace=wanted.replace
    )
    await note(request, "persona.imported", object=kept.file.name, replaced=wanted.replace)
    return _view(kept)


@router.post(
    "/test",
    responses={
        200: {
            "description": "OpenAI's events of a streamed chat.",
            "content": {"text/event-stream": {}},
        },
        **_errors(400, 403, 404, 413, 503),
    },
)
async def try_persona(request: Request, trial: Trial) -> Response:
    """Let a persona that need not be kept answer by text; callers go first, nothing is stored."""
    settings = request.app.state.settings
    await asyncio.to_thread(check_persona, settings, trial.persona)
    asked = question(settings, trial)
    return await asked_instead(
        request, request.app.state.services, "llm", "/v1/chat/completions", asked
    )


@router.get("/{name}", responses=_errors(404))
async def get_persona(request: Request, name: str) -> PersonaView:
    """One of them."""
    return _view(await asyncio.to_thread(personas_of(request).get, name))


@router.get(
    "/{name}/yaml",
    response_class=Response,
    responses={
        200: {"description": "The file.", "content": {"application/yaml": {}}},
        **_errors(400, 404),
    },
)
async def export_persona(request: Request, name: str) -> Response:
    """Its file, to take elsewhere."""
    personas = personas_of(request)
    text = await asyncio.to_thread(personas.files.text, name)
    named = {"Content-Disposition": f'attachment; filename="{name}.yaml"'}
    return Response(text, media_type="application/yaml", headers=named)


@router.put("/{name}", responses=_WRITE_ERRORS)
async def change_persona(request: Request, name: str, wanted: ChangedPersona) -> PersonaView:
    """Replace one of the owner's, if nobody else has changed it meanwhile."""
    kept = await asyncio.to_thread(
        personas_of(request).change, name, wanted.persona, wanted.version
    )
    if kept.file.name != name:
        await note(request, "persona.renamed", object=kept.file.name, before=name)
    else:
        await note(request, "persona.changed", object=name)
    return _view(kept)


@router.post("/{name}/clone", status_code=201, responses=_WRITE_ERRORS)
async def clone_persona(request: Request, name: str, wanted: Clone) -> PersonaView:
    """Keep a copy of one."""
    kept = await asyncio.to_thread(personas_of(request).clone, name, wanted.name)
    await note(request, "persona.created", object=kept.file.name, copied=name)
    return _view(kept)


@router.delete("/{name}", status_code=204, responses=_errors(400, 403, 404, 409))
async def delete_persona(
    request: Request, name: str, version: str = Query(max_length=64)
) -> Response:
    """Remove one of the owner's that nobody needs."""
    await asyncio.to_thread(personas_of(request).delete, name, version)
    await note(request, "persona.deleted", object=name)
    return Response(status_code=204)


def _row(kept: Kept) -> dict[str, Any]:
    file = kept.file
    return {
        "name": file.name, "title": file.title, "own": file.own, "covers_built_in": file.covers,
        "is_default": kept.is_default, "problem": kept.problem, "uses": list(kept.uses),
        "version": file.version,
    }  # fmt: skip


def _view(kept: Kept) -> PersonaView:
    return PersonaView(**_row(kept), persona=kept.file.persona)
