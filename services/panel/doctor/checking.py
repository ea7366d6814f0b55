"""Every check of the box at once, each with a deadline, shared by whoever asks at the same time."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel

from appliance.checks import NAMES, Result, run_check
from appliance.checks.finding import fail
from appliance.settings import Settings

DEADLINE_S = 15.0
_KEPT_S = 2.0
_TITLES = {
    "gpu": "GPU", "livekit": "Media server", "media_address": "Address for calls",
    "file_descriptors": "Open files", "socket_paths": "Socket paths",
    "sealed_environment": "Nothing leaves",
}  # fmt: skip


class CheckResult(BaseModel):
    """One check and what it found."""

    name: str
    title: str
    checks: str
    """What is well when this is ``ok``."""
    state: Literal["ok", "warn", "fail"]
    message: str
    hint: str


class Checkup(BaseModel):
    """All checks, in the order in which they are shown."""

    ok: bool
    """Whether none failed."""
    at: datetime
    """The box's clock."""
    checks: list[CheckResult]


class Checkups:
    """Runs the checks; never twice at the same time."""

    def __init__(self, settings: Settings, deadline_s: float = DEADLINE_S) -> None:
        self._settings = settings
        self._deadline_s = deadline_s
        self._lock = asyncio.Lock()
        self._last: Checkup | None = None
        self._last_at = 0.0

    async def look(self) -> Checkup:
        """What every check finds, at most two seconds old."""
        async with self._lock:
            if self._last is None or time.monotonic() - self._last_at > _KEPT_S:
                found = await asyncio.gather(*(self._one(name) for name in NAMES))
                healthy = all(one.state != "fail" for one in found)
                self._last = Checkup(ok=healthy, at=datetime.now(UTC), checks=list(found))
                self._last_at = time.monotonic()
            return self._last.model_copy(update={"at": datetime.now(UTC)})

    async def _one(self, name: str) -> CheckResult:
        try:
            async with asyncio.timeout(self._deadline_s):
                result = await asyncio.to_thread(run_check, self._settings, name)
        except TimeoutError:
            finding = fail(
                f"This check had no answer after {self._deadline_s:g} seconds.",
                "A disk or a program may hang; `scripts/appliance doctor` on the machine says more.",
            )
            result = Result(name, "", finding)
        return CheckResult(
            name=name, title=title_of(name), checks=result.checks, state=result.finding.state,
            message=result.finding.message, hint=result.finding.hint,
        )  # fmt: skip


def title_of(name: str) -> str:
    """A check's name for people."""
    return _TITLES.get(name) or name.replace("_", " ").capitalize()
