"""Models, for programs: what is here and fits, fetch, check, upload, delete, and change what serves."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from appliance.catalogue import Catalogue
from appliance.catalogue.entries import ModelId, Task
from appliance.catalogue.memory import fit_for
from appliance.errors import BadInput, Refused
from services.panel.access import principal_of
from services.panel.access.audit import note
from services.panel.models.asking import Wish
from services.panel.models.hands import refuse_unaccepted
from services.panel.models.office import office_of
from services.panel.models.removing import delete_model
from services.panel.models.shelf import FitView, ModelView, Room
from services.panel.models.switching import shown
from services.panel.models.uploads import LARGEST, Part, Piece
from services.panel.models.work import Work

router = APIRouter(prefix="/api/v1/models", tags=["models"])

Errors = dict[int | str, dict[str, Any]]
_UNKNOWN: Errors = {
    400: {"description": "`bad_request`, or the model's files are damaged"},
    404: {"description": "`model_unknown`, `model_missing`"},
}
_BUSY: Errors = {409: {"description": "`model_busy`, `too_many_pulls`: something is under way"}}
_LICENCE: Errors = {403: {"description": "`licence_not_accepted`, `model_in_use`"}}
_BINARY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
KnownId = Annotated[ModelId, Path(description="A model's id.")]
Context = Annotated[int | None, Field(ge=512, le=131072)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WorkView(_Body):
    """Fetching or checking a model. Bytes."""

    model: str
    kind: Literal["pull", "verify"]
    state: Literal["waiting", "running", "checking", "done", "failed", "cancelled"]
    done: int
    total: int
    message: str
    hint: str
    over: bool


class StepView(_Body):
    """When a switch came to a state."""

    state: str
    at: str


class SwitchView(_Body):
    """A change of the model that serves."""

    task: Task
    to: str
    state: str = Field(
        description="checking, draining, stopping, starting, canary, committed or rolled_back"
    )
    before: str
    context_tokens: int | None
    asked_by: str
    reason: str = Field(description="Why it was rolled back.")
    finished: bool
    under_way: bool
    steps: list[StepView]


class Models(_Body):
    """Everything there is to know."""

    models: list[ModelView]
    work: list[WorkView]
    switch: SwitchView | None
    disk_free: int = Field(description="Bytes free where models are put.")


class Licence(_Body):
    """The owner's word."""

    licence: Annotated[str, Field(max_length=200, description="Exactly as it was shown.")]


class NewSwitch(_Body):
    """Which model is to serve."""

    task: Task
    model: ModelId
    context_tokens: Context = Field(None, description="The llm's context; left out: as it is.")


class Missing(_Body):
    """What is still to be sent of an upload."""

    model: str
    missing: list[Part]


class Deleted(_Body):
    """What a deletion freed, in bytes."""

    model: str
    freed: int


@router.get("", responses={500: {"description": "`selection_unreadable`, `lock_unreadable`"}})
async def list_models(request: Request) -> Models:
    """Every known and own model with its fit; what is under way with them."""
    office = office_of(request)
    return Models(
        models=await office.shelf.look(),
        work=[work_view(work) for work in office.workshop.known().values()],
        switch=switch_view(office.switcher.state()),
        disk_free=await asyncio.to_thread(office.shelf.disk_free),
    )


@router.get("/room")
async def get_room(request: Request) -> Room:
    """What context and seats cost: the numbers behind the memory bar."""
    return await asyncio.to_thread(office_of(request).shelf.room)


@router.get("/switch")
async def get_switch(request: Request) -> SwitchView | None:
    """The latest change of a model; null if there never was one."""
    return switch_view(office_of(request).switcher.state())


@router.post(
    "/switch", status_code=202,
    responses={**_UNKNOWN, **_LICENCE, 409: {"description": "`switch_under_way`"}},
)  # fmt: skip
async def begin_switch(request: Request, wanted: NewSwitch) -> SwitchView:
    """Begin to change the model that serves a task; callers wait for a moment and go on."""
    if wanted.context_tokens is not None and wanted.task != "llm":
        raise BadInput("context_without_llm", "Only the language model has a context.")
    settings = request.app.state.settings
    # Refused at once rather than a moment later, where it can be.
    await asyncio.to_thread(lambda: Catalogue(settings).installed(wanted.task, wanted.model))
    principal = principal_of(request)
    wish = Wish(
        wanted.task, wanted.model, principal.label if principal else "", wanted.context_tokens
    )
    switch = await office_of(request).switcher.begin(wish)
    await note(request, "switch.begun", object=wanted.model, task=wanted.task)
    return SwitchView.model_validate(shown(switch))


@router.put(
    "/uploads/{model_id}/{part}", openapi_extra=_BINARY,
    responses={
        400: {"description": "`wrong_kind_of_file`, `model_damaged`, `upload_cut` …"},
        409: {"description": "`model_exists`, `upload_under_way`, `upload_out_of_step`"},
        413: {"description": "`upload_too_large`, `disk_full`"},
    },
)  # fmt: skip
async def upload(
    request: Request,
    model_id: KnownId,
    part: Part,
    at: Annotated[int, Query(ge=0, le=LARGEST, description="Where this piece begins.")] = 0,
    total: Annotated[int | None, Query(ge=1, le=LARGEST, description="Of the whole file.")] = None,
) -> Missing:
    """Send one file of an own model as the body, or a piece of it; with its last file the model is there.

    The front door gives each request 60 s, so a large file is sent in pieces, one after the other.
    """
    length = request.headers.get("content-length", "")
    declared = int(length) if length.isdecimal() and len(length) < 20 else None
    piece = Piece(at, total, declared)
    missing = await office_of(request).uploads.take(model_id, part, request.stream(), piece)
    if not missing:
        await note(request, "model.uploaded", object=model_id)
    return Missing(model=model_id, missing=missing)


@router.get("/{model_id}/fit", responses=_UNKNOWN)
async def get_fit(
    request: Request,
    model_id: KnownId,
    context_tokens: Annotated[int | None, Query(ge=512, le=131072)] = None,
) -> FitView:
    """Whether a model fits in the place of the one that serves, from its files' own metadata."""
    office = office_of(request)

    def judge() -> FitView:
        settings = office.shelf.settings_now()
        catalogue = Catalogue(settings)
        entry = catalogue.entries.get(model_id)
        task = entry.task if entry else catalogue.find(model_id).task
        fit = fit_for(settings, catalogue, model_id, task, office.gpu.read(), context_tokens)
        return FitView(
            answer=fit.answer, because=fit.because, need=fit.need, free=fit.free, place=fit.place
        )

    return await asyncio.to_thread(judge)


@router.post("/{model_id}/pull", status_code=202, responses={**_UNKNOWN, **_LICENCE, **_BUSY})
async def pull(request: Request, model_id: KnownId) -> WorkView:
    """Begin to fetch a model of the catalogue, or go on where a fetch stopped."""
    office = office_of(request)
    entry = await asyncio.to_thread(Catalogue(request.app.state.settings).entry, model_id)
    await asyncio.to_thread(refuse_unaccepted, request.app.state.store, model_id, entry.licence)
    work = office.workshop.pull(model_id)
    await note(request, "model.pull_begun", object=model_id)
    return work_view(work)


@router.delete("/{model_id}/pull", responses=_UNKNOWN)
async def cancel(request: Request, model_id: KnownId) -> WorkView:
    """Stop fetching or checking a model; what was fetched is kept for the next time."""
    work = office_of(request).workshop.cancel(model_id)
    await note(request, "model.pull_cancelled", object=model_id)
    return work_view(work)


@router.post("/{model_id}/verify", status_code=202, responses={**_UNKNOWN, **_BUSY})
async def verify(request: Request, model_id: KnownId) -> WorkView:
    """Begin to compare an installed model's files with their digests."""
    return work_view(office_of(request).workshop.verify(model_id))


@router.post("/{model_id}/licence", responses=_UNKNOWN)
async def accept_licence(request: Request, model_id: KnownId, word: Licence) -> ModelView:
    """Accept a model's licence, so that it may be used."""
    office = office_of(request)
    model = await asyncio.to_thread(office.shelf.find, model_id)
    if word.licence != model.licence:
        raise BadInput(
            "licence_other", f"The licence of {model_id!r} is another one by now.",
            "Load the page again and read it.",
        )  # fmt: skip
    principal = principal_of(request)
    await asyncio.to_thread(
        request.app.state.store.licences.accept,
        model_id, model.licence, principal.label if principal else "",
    )  # fmt: skip
    await note(request, "licence.accepted", object=model_id, licence=model.licence)
    return await asyncio.to_thread(office.shelf.find, model_id)


@router.delete("/{model_id}", responses={**_UNKNOWN, **_LICENCE, **_BUSY})
async def delete(request: Request, model_id: KnownId) -> Deleted:
    """Delete a pulled or uploaded model; never one that serves or served well last."""
    office = office_of(request)
    if office.workshop.is_busy(model_id):
        raise Refused("model_in_use", f"Something is being done with {model_id!r} just now.")
    freed = await asyncio.to_thread(delete_model, request.app.state.settings, model_id)
    await note(request, "model.deleted", object=model_id)
    return Deleted(model=model_id, freed=freed)


def work_view(work: Work) -> WorkView:
    """A piece of work as JSON."""
    return WorkView.model_validate(work.as_json())


def switch_view(state: dict[str, Any] | None) -> SwitchView | None:
    """A switch as JSON."""
    return None if state is None else SwitchView.model_validate(state)
