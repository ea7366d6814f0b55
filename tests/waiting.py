"""Waiting for something to become true, with a deadline instead of a fixed sleep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

_PAUSE_S = 0.005


def until(
    condition: Callable[[], object],
    within_s: float = 30.0,
    what: str = "it",
    pause_s: float = _PAUSE_S,
) -> None:
    """Return once the condition holds; fail when it does not in time. ``pause_s``: between two looks."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {within_s:g} s"
        time.sleep(pause_s)


async def eventually(
    condition: Callable[[], Awaitable[object]], within_s: float = 30.0, what: str = "it"
) -> None:
    """The same for conditions that must be awaited."""
    deadline = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {within_s:g} s"
        await asyncio.sleep(_PAUSE_S)
