"""A box whose models change without any being loaded, a source that fetches nothing, and how to ask."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.catalogue.entries import Task
from appliance.catalogue.pulling import PullEvent
from appliance.catalogue.selection import Switch, read_selection, wished
from appliance.errors import ApplianceError, NotReady, Refused
from appliance.settings import Settings
from services.panel.models.asking import Condition
from services.panel.models.office import make_office
from tests.panel_app import Panel, running_panel, until

API = "/api/v1/models"
GOOD, NEW, CRASHES, BABBLES, FORBIDDEN = "good", "new", "crashes", "babbles", "forbidden"


class Killed(BaseException):
    """kill -9: nothing after it runs."""


@dataclass
class FakeBox:
    """A service that loads what the file says when it starts; outlives any panel."""

    settings: Settings
    running: str | None = GOOD
    flying: int = 0
    context: int | None = None
    kill_at: int | None = None
    points: int = 0
    ended: list[str] = field(default_factory=list)

    def point(self) -> None:
        """A moment at which the panel may die."""
        self.points += 1
        if self.points == self.kill_at:
            raise Killed

    async def check(self, switch: Switch) -> None:
        self.point()
        if switch.to == FORBIDDEN:
            raise Refused("model_too_big", "It does not fit.")

    async def in_flight(self, task: Task) -> int:
        self.point()
        return self.flying

    async def stop(self, task: Task) -> None:
        self.point()
        self.running = None
        self.point()

    async def start(self, task: Task) -> None:
        self.point()
        self.running = self.running or self.loaded(task)
        self.point()

    def loaded(self, task: Task) -> str:
        return read_selection(self.settings).loaded(task) or wished(self.settings, task)

    async def condition(self, task: Task) -> Condition:
        if self.running is None:
            return Condition("loading")
        if self.running == CRASHES:
            return Condition("ended", "The program ended.")
        return Condition("ready")

    async def canary(self, switch: Switch) -> None:
        self.point()
        if self.running == BABBLES:
            raise NotReady("model_silent", "It answers without a word.")

    async def keep_context(self, tokens: int | None) -> None:
        self.point()
        self.context = tokens
        self.point()

    async def finished(self, switch: Switch) -> None:
        self.ended.append(switch.state)


class Hands:
    """The box, with ``context`` as the method that the switcher knows."""

    def __init__(self, box: FakeBox) -> None:
        self._box = box

    def __getattr__(self, name: str) -> Any:
        return getattr(self._box, name)

    async def context(self) -> int | None:
        return self._box.context


class FakeSource:
    """Fetches nothing, as slowly or as badly as a test wants."""

    def __init__(self) -> None:
        self.error: ApplianceError | None = None
        self.hangs = False

    def __call__(
        self, model_id: str, into: Path, *, on_child: Callable[[subprocess.Popen[str]], None]
    ) -> Iterator[PullEvent]:
        yield PullEvent("progress", 10, 100)
        if self.hangs:
            command = [sys.executable, "-c", "import signal; signal.pause()"]
            with subprocess.Popen(command, text=True) as child:
                on_child(child)
                child.wait()
            raise ApplianceError("pull_interrupted", "It was interrupted.", can_retry=True)
        if self.error:
            raise self.error
        yield PullEvent("progress", 100, 100)
        yield PullEvent("done")


@asynccontextmanager
async def models_panel(settings: Settings, source: FakeSource) -> AsyncIterator[Panel]:
    """The real panel on this box, with this source."""
    hands = Hands(FakeBox(settings, running="smollm2-135m-instruct"))
    models = functools.partial(make_office, hands=hands, fetch=source)
    async with running_panel(settings, models=models) as running:
        yield running


async def row(panel: Panel, model_id: str) -> dict[str, Any]:
    """One model of the list."""
    answer = await panel.http.get(API)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = next(one for one in answer.json()["models"] if one["id"] == model_id)
    return found


async def work(panel: Panel, model_id: str) -> dict[str, Any]:
    """What was done with a model, once it is over."""

    def latest() -> Any:
        found = panel.app.state.models.workshop.known().get(model_id)
        return found if found and found.is_over else None

    await until(latest)
    await until(lambda: not panel.app.state.models.workshop.is_busy(model_id))
    answer: dict[str, Any] = latest().as_json()
    return answer


async def send(panel: Panel, model_id: str, part: str, body: bytes) -> Any:
    return await panel.http.put(f"{API}/uploads/{model_id}/{part}", content=body)


def left_aside(settings: Settings) -> list[Path]:
    return [path for path in (settings.models_path / ".upload").rglob("*") if path.is_file()]
