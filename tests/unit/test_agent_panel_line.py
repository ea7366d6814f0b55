"""The line that tells the panel that a call has its agent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from services.agent.panel_line import PanelLine
from tests.agent_fakes import serving, until

pytestmark = pytest.mark.unit

ROUTE = "/internal/v1/jobs/{session_id}"


class FakePanel:
    """Reads jobs' lines."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.opened: list[str] = []
        self.closed = 0
        self.status = 200

    async def handle(self, request: web.Request) -> web.Response:
        self.opened.append(request.match_info["session_id"])
        try:
            async for line in request.content:
                self.lines.append(json.loads(line))
            return web.Response(status=self.status)
        finally:
            self.closed += 1


def line(socket: Path) -> PanelLine:
    return PanelLine(socket, "s1", "agent-1", 42)


async def test_hello_and_goodbye(tmp_path: Path) -> None:
    panel = FakePanel()
    async with serving(tmp_path / "panel.sock", ROUTE, panel.handle):
        held = line(tmp_path / "panel.sock")
        await until(lambda: panel.lines)
        await held.goodbye("completed", "Done.")
    assert panel.opened == ["s1"]
    assert panel.lines == [
        {"type": "hello", "pid": 42, "identity": "agent-1"},
        {"type": "goodbye", "state": "completed", "reason": "Done."},
    ]


async def test_a_panel_that_comes_back_is_told_again(tmp_path: Path) -> None:
    socket = tmp_path / "panel.sock"
    held = line(socket)
    for _ in range(2):
        panel = FakePanel()
        async with serving(socket, ROUTE, panel.handle):
            await until(lambda now=panel: now.lines)  # type: ignore[misc]
        assert panel.lines[0]["type"] == "hello"
    panel = FakePanel()
    async with serving(socket, ROUTE, panel.handle):
        await until(lambda: panel.lines)
        await held.goodbye("completed", "")
    assert [told["type"] for told in panel.lines] == ["hello", "goodbye"]


async def test_without_a_panel_the_goodbye_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.agent.panel_line._GOODBYE_S", 0.05)
    await line(tmp_path / "nobody.sock").goodbye("completed", "")


async def test_a_dropped_line_says_no_goodbye(tmp_path: Path) -> None:
    panel = FakePanel()
    async with serving(tmp_path / "panel.sock", ROUTE, panel.handle):
        held = line(tmp_path / "panel.sock")
        await until(lambda: panel.lines)
        await held.drop()
        await until(lambda: panel.closed)
    assert [told["type"] for told in panel.lines] == ["hello"]
