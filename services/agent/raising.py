"""The services are told that a turn is over: the answer begun for it is needed now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from livekit.agents import APIError

from appliance import logs
from appliance.catalogue.entries import Task
from appliance.settings import Settings
from services.agent.upstream import Upstream

log = logs.get(__name__)

_PATH = "/v1/attempts/{}/live"
_SILENCE_S = 2.0
_TASKS: tuple[Task, ...] = ("llm", "tts")


class Raising:
    """Raises answers that were begun early, in all services that work on them.

    Args:
        upstreams: connections of its own to the box's services; another server knows nothing of it.
    """

    def __init__(self, upstreams: Sequence[Upstream]) -> None:
        self._upstreams = upstreams
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    def of(cls, settings: Settings, session_id: str) -> Raising:
        """For those services that are the box's own."""
        own: list[Task] = [task for task in _TASKS if not getattr(settings, task).url]
        return cls([Upstream.of(task, settings, session_id) for task in own])

    def tell(self, attempt: str) -> None:
        """The turn is over for which this answer was begun."""
        for upstream in self._upstreams:
            task = asyncio.create_task(_tell(upstream, attempt), name="raising")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Stop telling, and close the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for upstream in self._upstreams:
            await upstream.aclose()


async def _tell(upstream: Upstream, attempt: str) -> None:
    try:
        await upstream.tell(_PATH.format(attempt), silence_s=_SILENCE_S)
    except APIError as error:
        # The answer still comes, behind other callers' first words; a service that is down says so itself.
        log.info("not_raised", error=type(error).__name__)
