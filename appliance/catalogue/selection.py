"""selection.json: which model serves each task, and the switch that is under way."""

from __future__ import annotations

from datetime import UTC, datetime
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


# While it is tried, the new model is what a service that starts must load.
_TRYING = ("starting", "canary")
# From here on the service may be away.
_AWAY = ("draining", "stopping", *_TRYING)


class Step(BaseModel):
    """When a switch came to a state."""

    model_config = ConfigDict(extra="forbid")
    state: SwitchState
    at: datetime


class Switch(BaseModel):
    """A change of model that has begun."""

    model_config = ConfigDict(extra="forbid")
    task: Task
    to: ModelId
    state: SwitchState
    before: str = ""
    """What served when it began."""
    context_tokens: int | None = None
    """The language model's new context; None: it stays."""
    context_before: int | None = None
    """What settings.toml said before; None: nothing."""
    asked_by: str = ""
    reason: str = ""
    """Why it was rolled back, in a sentence."""
    finished: bool = False
    """A service that is to serve again does so, or cannot."""
    taken_up: int = 0
    """How often a new panel went on with it."""
    steps: list[Step] = Field(default_factory=list)

    def entered(self, state: SwitchState, **changes: object) -> Switch:
        """The same switch, one state on."""
        step = Step(state=state, at=datetime.now(UTC))
        return self.model_copy(update={"state": state, "steps": [*self.steps, step], **changes})

    @property
    def under_way(self) -> bool:
        """Whether the service may be away because of it."""
        return not self.finished and self.state in (*_AWAY, "rolled_back")


class Selection(BaseModel):
    """What serves now, what served well before, and the switch between them."""

    model_config = ConfigDict(extra="forbid")
    current: dict[Task, ModelId] = Field(default_factory=dict)
    last_good: dict[Task, ModelId] = Field(default_factory=dict)
    wishes: dict[Task, str] = Field(default_factory=dict)
    """What the settings asked for when a task's model was last changed."""
    switch: Switch | None = None

    def loaded(self, task: Task) -> str | None:
        """What a service that starts now is to load; None if nothing was ever switched."""
        switch = self.switch
        if switch and switch.task == task and not switch.finished and switch.state in _TRYING:
            return switch.to
        return self.current.get(task)

    def settled(self, task: Task) -> str | None:
        """What serves for good, whatever is being tried."""
        return self.last_good.get(task) or self.current.get(task)


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
