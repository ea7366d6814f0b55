"""Every known and own model as the page and the API show it."""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from appliance.catalogue.entries import ModelEntry, Task
from appliance.catalogue.fit import Fit, Line, Need, judge, line_of, text
from appliance.catalogue.installed import Catalogue, ModelStatus
from appliance.catalogue.licences import is_permissive, licence_of
from appliance.catalogue.memory import (
    TASKS,
    component_memory,
    free_after,
    need_for,
    others_memory,
    place_for,
    ram_total,
)
from appliance.catalogue.reading import shape_of_installed
from appliance.catalogue.selection import Selection, read_selection
from appliance.catalogue.shape import Shape
from appliance.errors import ApplianceError, NotFound
from appliance.gpu import Gpu, GpuReader
from appliance.seats import PER_CALL_MB, PROGRAMS_MB, conversations_of, seats_of
from appliance.settings import Settings
from appliance.settings_file import effective, read_file
from appliance.store import Store
from services.panel.models.removing import why_kept

_READERS = 2


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FitView(_Row):
    """Whether it fits. Bytes."""

    answer: Literal["fits", "tight", "too_big", "unknown"]
    because: str
    need: int
    free: int
    place: Literal["ram", "vram"]


class ModelView(_Row):
    """One model."""

    id: str
    task: Task
    title: str
    installed: bool
    selected: bool
    own: bool
    size: int | None = Field(description="Bytes; null while unknown.")
    about_bytes: int | None = Field(description="About the size, where only that is known.")
    licence: str
    licence_to_accept: bool = Field(description="Whether it must be accepted before first use.")
    languages: list[str]
    source: str
    digest: str
    note: str
    kept_because: str = Field(description="Why it cannot be deleted; empty if it can.")
    begun: bool = Field(description="Whether a fetch was begun and not finished.")
    trouble: str = Field(description="What is wrong with its files; empty if nothing is.")
    fit: FitView


class MemoryLine(_Row):
    """The language model's need along its context: ``fixed + conversations * (state + kv_per_token *
    tokens) + max(work_least, work_extra + work_per_token * tokens)``. Bytes.
    """

    fixed: int
    state: int
    kv_per_token: int
    work_least: int
    work_extra: int
    work_per_token: int


class Part(_Row):
    """One part of the memory bar. Bytes, predicted."""

    name: str
    label: str
    size: int
    place: Literal["ram", "vram"]


class Room(_Row):
    """What the sliders of context and seats move in. Bytes."""

    context_tokens: int
    longest_context: int
    seats: int
    seats_set: int = Field(description="The setting; 0: from memory.")
    conversations: int = Field(description="Conversations that the language model keeps at once.")
    line: MemoryLine | None
    parts: list[Part]
    ram_total: int
    vram_total: int
    ram_other: int = Field(description="Taken by other programs, measured; 0: nobody knows.")
    vram_other: int = Field(description="As ram_other, of the graphics memory.")
    call_bytes: int
    programs_bytes: int
    llm_place: Literal["ram", "vram"]


class Shelf:
    """Looks at the models of one box. Its methods block, except ``look``.

    Args:
        settings: the box's.
        store: where accepted licences are.
        gpu: reads the GPU.
    """

    def __init__(self, settings: Settings, store: Store, gpu: GpuReader) -> None:
        self._settings = settings
        self._store = store
        self._gpu = gpu

    async def look(self) -> list[ModelView]:
        """Every model, the catalogue's first."""
        return await asyncio.to_thread(self.models)

    def models(self) -> list[ModelView]:
        """Every model, the catalogue's first."""
        settings, catalogue, gpu = self.settings_now(), Catalogue(self._settings), self._gpu.read()
        selection = read_selection(self._settings)
        accepted = self._store.licences.accepted()
        free = {
            (task, place): free_after(settings, catalogue, task, place, gpu)
            for task in TASKS
            for place in {"ram", place_for(settings, task, gpu)}
        }

        def view(status: ModelStatus) -> ModelView | None:
            try:
                return row(status)
            except (NotFound, FileNotFoundError):
                # It was deleted since the list was made.
                return None

        def row(status: ModelStatus) -> ModelView:
            need, shape, trouble = _known(settings, catalogue, status.id, gpu)
            place = need.place if need else "ram"
            fit = judge(need, free[status.task, place])
            entry = self._entry(catalogue, status)
            licence = licence_of(entry, shape)
            known = accepted.get(status.id)
            to_accept = not is_permissive(licence) and (known is None or known.licence != licence)
            return _view(status, fit, licence, to_accept, trouble).model_copy(
                update={
                    "kept_because": self._kept(catalogue, selection, status),
                    "begun": (self._settings.models_path / ".pull" / status.id).is_dir(),
                }
            )

        with ThreadPoolExecutor(_READERS) as readers:
            return [found for found in readers.map(view, catalogue.list()) if found]

    def find(self, model_id: str) -> ModelView:
        """One model.

        Raises:
            NotFound: nobody knows it.
        """
        for model in self.models():
            if model.id == model_id:
                return model
        raise NotFound(
            "model_unknown", f"There is no model called {model_id!r}.", "The page Models shows all."
        )

    def room(self) -> Room:
        """What the sliders of context and seats move in."""
        settings, gpu = self.settings_now(), self._gpu.read()
        shape = self._llm_shape()
        seats = seats_of(settings)
        place = place_for(settings, "llm", gpu)
        line = line_of(shape, place) if shape else None
        parts = component_memory(settings, gpu)
        others = others_memory(settings, gpu, parts)
        return Room(
            context_tokens=settings.llm.context_tokens,
            longest_context=min(131072, shape.trained_tokens or 131072) if shape else 131072,
            seats=seats.count,
            seats_set=settings.agent.seats,
            conversations=conversations_of(settings),
            line=_line(line) if line else None,
            parts=[
                Part(name=one.name, label=one.label, size=one.size, place=one.place)
                for one in parts
            ],
            ram_total=ram_total(),
            vram_total=gpu.memory_total or 0,
            ram_other=others["ram"],
            vram_other=others["vram"],
            call_bytes=PER_CALL_MB << 20,
            programs_bytes=PROGRAMS_MB << 20,
            llm_place=place,
        )

    def settings_now(self) -> Settings:
        """The settings as the file has them by now, not as the panel was started with them."""
        try:
            return effective(self._settings, read_file(self._settings).values)
        except (ApplianceError, ValueError):
            # A file that is broken meanwhile: the doctor and the settings page say so.
            return self._settings

    def disk_free(self) -> int:
        """Bytes free where models are put."""
        folder = self._settings.models_path
        return shutil.disk_usage(folder if folder.is_dir() else self._settings.data_dir).free

    def _llm_shape(self) -> Shape | None:
        catalogue = Catalogue(self._settings)
        try:
            return shape_of_installed(catalogue.find(catalogue.selected("llm")))
        except ApplianceError:
            # The list of models says what is wrong with it.
            return None

    def _entry(self, catalogue: Catalogue, status: ModelStatus) -> ModelEntry:
        known = catalogue.entries.get(status.id)
        return known or catalogue.find(status.id).entry

    def _kept(self, catalogue: Catalogue, selection: Selection, status: ModelStatus) -> str:
        if not status.installed:
            return "It is not here."
        return why_kept(self._settings, catalogue, selection, catalogue.find(status.id))


def _known(
    settings: Settings, catalogue: Catalogue, model_id: str, gpu: Gpu
) -> tuple[Need | None, Shape | None, str]:
    try:
        need = need_for(settings, catalogue, model_id, gpu)
    except ApplianceError as error:
        return None, None, str(error)
    try:
        return need, shape_of_installed(catalogue.find(model_id)), ""
    except NotFound:
        return need, None, ""


def _view(status: ModelStatus, fit: Fit, licence: str, to_accept: bool, trouble: str) -> ModelView:
    return ModelView(
        id=status.id, task=status.task, title=status.title, installed=status.installed,
        selected=status.selected, own=status.digest == "own", size=status.size,
        about_bytes=status.about_bytes, licence=licence,
        licence_to_accept=to_accept, languages=status.languages, source=status.source,
        digest=status.digest, note=status.note, kept_because="", begun=False, trouble=trouble,
        fit=FitView(
            answer=fit.answer, because=trouble or fit.because, need=fit.need, free=fit.free,
            place=fit.place,
        ),
    )  # fmt: skip


def _line(line: Line) -> MemoryLine:
    return MemoryLine(
        fixed=line.fixed, state=line.state, kv_per_token=line.kv_per_token,
        work_least=line.work_least, work_extra=line.work_extra, work_per_token=line.work_per_token,
    )  # fmt: skip


def size_text(size: int | None) -> str:
    """A size for people."""
    return "unknown" if size is None else text(size)
