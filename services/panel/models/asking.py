"""What a change of model is asked for, and what it needs of the box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from appliance.catalogue.entries import Task
from appliance.catalogue.selection import Switch
from appliance.errors import ApplianceError


class SwitchUnderWay(ApplianceError):
    """One switch at a time."""

    http_status = 409


@dataclass(frozen=True)
class Wish:
    """A switch that somebody asks for."""

    task: Task
    to: str
    asked_by: str = ""
    context_tokens: int | None = None


@dataclass(frozen=True)
class Condition:
    """What a service says of itself: loading, ready, failed, or ended on the way."""

    state: str
    why: str = ""


@dataclass(frozen=True)
class Pace:
    """How long each step may take, in seconds."""

    look: float = 0.2
    drain: float = 10.0
    start: float = 300.0
    canary: float = 150.0


class Hands(Protocol):
    """What a switch does to the box. Every method may raise ApplianceError."""

    async def check(self, switch: Switch) -> None:
        """Refuse a model whose files, licence or need for memory do not allow it."""

    async def in_flight(self, task: Task) -> int:
        """Requests that the service is answering."""

    async def stop(self, task: Task) -> None:
        """Stop the service and wait until it is gone."""

    async def start(self, task: Task) -> None:
        """Start the service; no error if it runs."""

    async def condition(self, task: Task) -> Condition:
        """How the service is."""

    async def canary(self, switch: Switch) -> None:
        """Refuse a model that does not answer a real request sensibly."""

    async def context(self) -> int | None:
        """The language model's context in settings.toml; None if it says nothing."""

    async def keep_context(self, tokens: int | None) -> None:
        """Write the language model's context into settings.toml; None takes it out."""

    async def finished(self, switch: Switch) -> None:
        """Write down how it ended."""
