"""What pages hear while they are open: through the real front door, and when the panel stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from tests.panel_box import Box, running_box
from tests.results import note

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]

STREAM = "/api/v1/events?topics=box"


@pytest.fixture
async def box(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[Box]:
    """A panel, a livekit-server and the front door."""
    async with running_box(tmp_path / "data", free_port) as box:
        await box.start_front()
        yield box


async def _hear(lines: AsyncIterator[str], event: str) -> None:
    async with asyncio.timeout(30):
        async for line in lines:
            if line == f"event: {event}":
                return
    raise AssertionError(f"the stream ended before {event}")


async def test_a_page_hears_the_box_and_does_not_hold_up_its_stop(box: Box) -> None:
    async with httpx.AsyncClient(
        base_url=box.settings.front_url, trust_env=False, timeout=30, headers=box.auth
    ) as client:
        async with client.stream("GET", STREAM) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.aiter_lines()
            await _hear(lines, "box")
            await _hear(lines, "box")
            begun = time.monotonic()
            status = await asyncio.to_thread(box.stop_panel)
            stopped_s = time.monotonic() - begun
            async with asyncio.timeout(30):
                # Its end, not a cut: httpx raises where a piece is missing.
                async for _line in lines:
                    continue
        note("panel stopped with an open page", seconds=round(stopped_s, 2))
        assert status == 0
        away = await client.get("/")
        assert away.status_code == 503
        await box.start_panel()
        async with client.stream("GET", STREAM) as again:
            await _hear(again.aiter_lines(), "box")


async def test_only_who_may_read_may_listen(box: Box) -> None:
    async with httpx.AsyncClient(base_url=box.settings.front_url, trust_env=False) as client:
        assert (await client.get(STREAM)).status_code == 401
