"""The panel behind the real front door: what passes, what does not, and LiveKit's webhooks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from tests.panel_box import SESSIONS, Box, running_box
from tests.waiting import eventually

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]


@pytest.fixture
async def box(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[Box]:
    """A panel, a livekit-server and the front door."""
    async with running_box(tmp_path / "data", free_port) as box:
        await box.start_front()
        yield box


@pytest.fixture
async def browser(box: Box) -> AsyncIterator[httpx.AsyncClient]:
    """Someone in front of the door."""
    async with httpx.AsyncClient(
        base_url=box.settings.front_url, trust_env=False, timeout=10,
        headers={**box.auth, "Origin": box.settings.front_url},
    ) as client:  # fmt: skip
        yield client


async def test_a_call_is_opened_and_ended_through_the_front_door(
    box: Box, browser: httpx.AsyncClient
) -> None:
    answer = await browser.post(SESSIONS, json={})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    port = box.settings.front.http_port
    assert made["url"] == f"ws://localhost:{port}"
    # Without our header: LiveKit would take it for a token of its own.
    async with box.session.get(
        f"{box.settings.front_url}/rtc/validate", params={"access_token": made["token"]}
    ) as through:
        reached = through.status
    assert reached == 200, "the address that callers are given reaches LiveKit"
    ended = await browser.post(f"{SESSIONS}/{made['session_id']}/end")
    assert ended.json()["state"] == "completed"


async def test_the_door_keeps_foreign_pages_and_the_inner_api_out(
    box: Box, browser: httpx.AsyncClient
) -> None:
    rebound = await browser.get("/", headers={"Host": "evil.example"})
    assert rebound.status_code == 421
    foreign = await browser.post(SESSIONS, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403
    for path in ("/internal/v1/jobs/x", "/INTERNAL/v1/jobs/x", "//internal/v1/jobs/x",
                 "/./internal/v1/jobs/x", "/%69nternal/v1/jobs/x"):  # fmt: skip
        answer = await browser.post(path, content=b'{"type":"hello"}\n')
        assert answer.status_code in (403, 404), path
    assert "job_began" not in (box.settings.data_dir / "panel.log").read_text()


async def test_livekits_webhooks_are_believed(box: Box, browser: httpx.AsyncClient) -> None:
    await browser.post(SESSIONS, json={})

    async def arrived() -> bool:
        return "webhook_noted" in (box.settings.data_dir / "panel.log").read_text()

    await eventually(arrived, what="the webhook about the new room")
    assert "webhook_refused" not in (box.settings.data_dir / "panel.log").read_text()
