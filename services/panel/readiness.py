"""Whether the box can take a call, asked at most once a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from appliance.errors import NotReady
from appliance.settings import Settings
from appliance.status import BoxStatus, box_status

_KEPT_S = 1.0
StatusSource = Callable[[], Awaitable[BoxStatus]]


class Readiness:
    """The box's status, shared by everyone who asks within a second.

    Attributes:
        pause: why no call is to begin although the box could take one; empty if calls may.
    """

    def __init__(self, source: StatusSource) -> None:
        self._source = source
        self.pause: Callable[[], str] = lambda: ""
        self._lock = asyncio.Lock()
        self._known: BoxStatus | None = None
        self._known_at = 0.0

    async def look(self) -> BoxStatus:
        """The status, at most a second old."""
        async with self._lock:
            if self._known is None or time.monotonic() - self._known_at > _KEPT_S:
                self._known = await self._source()
                self._known_at = time.monotonic()
            return self._known

    async def require(self) -> None:
        """Pass if the box can take a call.

        Raises:
            NotReady: says which program is not ready and why, or that a model is being changed.
        """
        if why := self.pause():
            raise NotReady("not_ready", why, "Try again in a minute.", can_retry=True)
        status = await self.look()
        if status.ready:
            return
        waiting = [program for program in status.programs if not program.ready]
        named = ", ".join(f"{one.name} ({one.why or one.state})" for one in waiting)
        raise NotReady(
            "not_ready", f"The box is not ready: {named or 'it is starting'}.",
            "Try again in a few seconds; `scripts/appliance status` shows more.", can_retry=True,
        )  # fmt: skip


def status_of(settings: Settings) -> StatusSource:
    """The real source: every program asked for its readiness."""
    return lambda: box_status(settings, memory=False)
