"""While the owner changes a model, requests to it wait instead of failing, and the caller is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx2

from appliance import logs
from appliance.catalogue.entries import Task
from appliance.catalogue.selection import Switch, read_selection, selection_file
from appliance.errors import ApplianceError
from appliance.settings import Settings
from services.agent.rank import Rank

log = logs.get(__name__)

_LOOK_S = 0.1
_ANNOUNCE_S = 0.3
_LONGEST_S = 60.0
"""Longer than this no caller waits; the request then fails as it would have."""

CHANGING = "A model is being changed. The call goes on in a moment."
CHANGED = "The model was changed; the call goes on."


class Patience:
    """Knows from ``selection.json`` whether a model is being changed.

    A file and no message: it is true also for a call process that starts in the middle, and
    while the panel that changes the model is dead.
    """

    def __init__(self, settings: Settings, longest_s: float = _LONGEST_S) -> None:
        self._settings = settings
        self._path = selection_file(settings)
        self._longest_s = longest_s
        self._mark: tuple[int, int] | None = None
        self._switch: Switch | None = None

    def changing(self, task: Task | None = None) -> bool:
        """Whether this task's model is being changed; any task's if none is named."""
        switch = self._look()
        return switch is not None and switch.under_way and task in (None, switch.task)

    async def wait(self, task: Task) -> None:
        """Return once this task's model serves, or after a minute."""
        if not self.changing(task):
            return
        began = time.monotonic()
        log.info("request_waits", task=task)
        # The other side is a file, which no event tells of.
        while self.changing(task) and time.monotonic() - began < self._longest_s:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)
        log.info("request_goes_on", task=task, waited_s=round(time.monotonic() - began, 1))

    async def announce(self, begun: Callable[[], bool], over: Callable[[], None]) -> None:
        """For ever: call ``begun`` once in every change, again until it says yes, then ``over``."""
        told = False
        while True:
            if self.changing():
                told = told or begun()
            elif told:
                told = False
                over()
            await asyncio.sleep(_ANNOUNCE_S)

    def _look(self) -> Switch | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        mark = (stat.st_mtime_ns, stat.st_ino)
        if mark != self._mark:
            try:
                self._switch = read_selection(self._settings).switch
            except ApplianceError as error:
                log.warning("selection_unreadable", code=error.code)
                self._switch = None
            self._mark = mark
        return self._switch


class PatientTransport(httpx2.AsyncBaseTransport):
    """A transport whose requests wait while the language model is being changed.

    Args:
        inner: sends them.
        patience: knows of changes.
        rank: how soon the answer to the next request is needed.
    """

    def __init__(
        self,
        inner: httpx2.AsyncBaseTransport,
        patience: Patience,
        rank: Callable[[], Rank],
    ) -> None:
        self._inner = inner
        self._patience = patience
        self._rank = rank

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Wait, then send."""
        await self._patience.wait("llm")
        request.headers.update(self._rank().headers())
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()
