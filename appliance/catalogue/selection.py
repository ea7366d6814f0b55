"""selection.json: which model serves each task, and the switch that is under way."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.catalogue.entries import ModelId, Task
from appliance.catalogue.lock import write_atomically
from appliance.errors import ApplianceError
from appliance.settings import Settings

SELECTION_NAME = "selection.json"
SwitchState = Literal[
    "checking", "draining", "stopping", "starting", "canary", "committed", "rolled_back"
]


class Switch(BaseModel):
    """A change of model that has begun."""

    model_config = ConfigDict(extra="forbid")
    task: Task
    to: ModelId
    state: SwitchState


class Selection(BaseModel):
    """What serves now, what served well before, and the switch between them."""

    model_config = ConfigDict(extra="forbid")
    current: dict[Task, ModelId] = Field(default_factory=dict)
    last_good: dict[Task, ModelId] = Field(default_factory=dict)
    switch: Switch | None = None


def selection_file(settings: Settings) -> Path:
    """Where the selection is kept."""
    return settings.models_path / SELECTION_NAME


def read_selection(settings: Settings) -> Selection:
    """The selection; empty if nothing was ever switched.

    Raises:
        ApplianceError: the file cannot be read.
    """
    path = selection_file(settings)
    try:
        return Selection.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Selection()
    except (OSError, ValidationError) as error:
        raise ApplianceError(
            "selection_unreadable", f"{path} cannot be read.",
            "Remove it to go back to the models named in the settings.",
        ) from error  # fmt: skip


def write_selection(settings: Settings, selection: Selection) -> None:
    """Replace the selection, whole or not at all."""
    write_atomically(selection_file(settings), selection.model_dump(mode="json"))


def wished(settings: Settings, task: Task) -> str:
    """The model the settings ask for."""
    return {"stt": settings.stt.model, "llm": settings.llm.model, "tts": settings.tts.voice}[task]
