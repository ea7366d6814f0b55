"""The owner ends a call on a real media server: the caller's client is told before it is put out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from livekit import rtc

from tests.panel_box import SESSIONS, running_box

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]


async def test_the_notice_comes_before_the_end(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with running_box(tmp_path / "data", free_port) as box:
        made = await box.open()
        room, heard, over = rtc.Room(), list[str](), asyncio.Event()

        def on_data(packet: rtc.DataPacket) -> None:
            if packet.topic == "appliance.notice":
                heard.append(json.loads(packet.data)["code"])

        def on_disconnected(_reason: object) -> None:
            heard.append("disconnected")
            over.set()

        room.on("data_received", on_data)
        room.on("disconnected", on_disconnected)
        await room.connect(box.settings.livekit_http_url, made["token"])
        try:
            ended = await box.http.post(f"/api/v1/calls/{made['session_id']}/end")
            assert ended.json()["reason"] == "the owner ended the call"
            async with asyncio.timeout(30):
                await over.wait()
        finally:
            await room.disconnect()
        assert heard == ["ended_by_owner", "disconnected"]
        mine = await box.http.get(f"{SESSIONS}/{made['session_id']}")
        assert mine.json()["reason"] == "the owner ended the call"
