"""A guest who may only write: the agent answers, and says what the panel asks it to say."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import httpx
import pytest
from livekit import api, rtc

from appliance.secrets import livekit_keys
from appliance.store import Store, Turn
from tests.box import Box
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

_AGENT_S = 20.0
_ANSWER_S = 60.0


async def test_a_guest_without_a_microphone_is_answered(box: Box) -> None:
    await asyncio.to_thread(box.wait_ready)
    made, secret = await _open(box)
    guest, notices = rtc.Room(), list[dict[str, Any]]()
    reading = set[asyncio.Task[None]]()

    async def read(reader: rtc.TextStreamReader) -> None:
        notices.append(json.loads(await reader.read_all()))

    def take(reader: rtc.TextStreamReader, _from: str) -> None:
        task = asyncio.create_task(read(reader))
        reading.add(task)
        task.add_done_callback(reading.discard)

    def agents() -> list[str]:
        return [name for name in guest.remote_participants if name.startswith("agent-")]

    async def turns() -> list[Turn]:
        return await asyncio.to_thread(store.turns.list, made["session_id"])

    async def greeted() -> bool:
        return any(turn.finished_at for turn in await turns())

    async def answered() -> bool:
        return any(turn.user_text and turn.agent_text for turn in await turns())

    async def told() -> bool:
        return any(notice["code"] == "ending_soon" for notice in notices)

    guest.register_text_stream_handler("appliance.notice", take)
    store = Store(box.settings.store_url)
    try:
        await guest.connect(made["url"], made["token"])
        await eventually(greeted, _AGENT_S, "the greeting")
        await guest.local_participant.send_text("What is the capital of France?", topic="lk.chat")
        await eventually(answered, _ANSWER_S, "an answer")
        await _ask_to_say(box, made["room_name"], agents()[0])
        await eventually(told, _AGENT_S, "the word before the end")
        async with httpx.AsyncClient(base_url=box.url, trust_env=False) as http:
            address = f"/api/v1/guest/sessions/{made['session_id']}"
            headers = {"X-Earshot-Guest": secret, "X-Earshot-Client": "1"}
            words = (await http.get(f"{address}/transcript", headers=headers)).json()
            assert any(turn["user_text"] for turn in words["turns"])
            ended = await http.post(f"{address}/end", headers=headers)
            assert ended.json()["state"] == "completed"
    finally:
        await guest.disconnect()
        store.close()


async def _open(box: Box) -> tuple[dict[str, Any], str]:
    """A link that allows writing, and a call by it; with what the guest proves themselves with."""
    async with httpx.AsyncClient(base_url=box.url, trust_env=False, timeout=15) as http:
        terms = {"name": "In writing", "text_only": True}
        link = await http.post("/api/v1/links", json=terms, headers=box.auth)
        secret = link.json()["url"].rpartition("/")[2]
        opened = await http.post(
            "/api/v1/guest/sessions", json={},
            headers={"X-Earshot-Guest": secret, "X-Earshot-Client": "1"},
        )  # fmt: skip
        assert opened.status_code == 201, opened.text
        made: dict[str, Any] = opened.json()
        assert made["text_only"] is True
        return made, made["guest"]


async def _ask_to_say(box: Box, room: str, agent: str) -> None:
    """As the panel does when a call's time is nearly over."""
    keys = livekit_keys(box.settings)
    async with aiohttp.ClientSession(trust_env=False) as session:
        livekit = api.LiveKitAPI(
            box.settings.livekit_http_url, keys.api_key, keys.api_secret, session=session
        )
        request = api.SendDataRequest(
            room=room, data=b"ending_soon", kind=api.DataPacket.Kind.RELIABLE,
            destination_identities=[agent], topic="appliance.say",
        )  # fmt: skip
        await livekit.room.send_data(request)
