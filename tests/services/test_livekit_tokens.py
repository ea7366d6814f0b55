"""Tokens against a real media server: what they open, what they do not, and rooms used again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from livekit import api, rtc

from appliance.secrets import LiveKitKeys, livekit_keys
from services.panel.rooms import LiveKitRooms, Visitor
from tests.panel_box import SESSIONS, Box, running_box
from tests.waiting import eventually

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]

TOKEN = "/v1/livekit/token"


@pytest.fixture
async def box(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[Box]:
    """A panel and a livekit-server."""
    async with running_box(tmp_path / "data", free_port) as box:
        yield box


async def token(box: Box, **body: Any) -> dict[str, Any]:
    """A token, as a program asks for it."""
    answer = await box.http.post(TOKEN, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def status_of(box: Box, jwt: str) -> int:
    """What the media server says to somebody who would join with this."""
    address = f"{box.settings.livekit_http_url}/rtc/validate"
    async with box.session.get(address, params={"access_token": jwt}) as answer:
        return answer.status


async def test_only_fresh_tokens_of_this_box_for_rooms_that_are(box: Box) -> None:
    made = await token(box, room_name="lobby")
    assert await status_of(box, made["participant_token"]) == 200
    keys = livekit_keys(box.settings)
    cases = {
        "two minutes too old": (keys, "lobby", -120),
        "signed by another box": (LiveKitKeys(keys.api_key, "x" * 48), "lobby", 60),
        "for a room that is not": (keys, "elsewhere", 60),
    }
    for what, (signing, room, ttl_s) in cases.items():
        rooms = LiveKitRooms(box.settings.livekit_http_url, signing, 300, Path("agent.sock"))
        try:
            jwt = rooms.token(room, Visitor("ann", ttl_s=ttl_s)).token
        finally:
            await rooms.close()
        assert await status_of(box, jwt) in (401, 404), what
    assert await box.rooms() == {"lobby"}


async def test_two_people_meet_in_a_room_that_is_used_again(box: Box) -> None:
    first = await token(box, room_name="lobby", participant_identity="ann")
    second = await token(box, room_name="lobby", participant_identity="ben")
    assert first["session_id"] == second["session_id"]
    ann, ben = rtc.Room(), rtc.Room()
    try:
        for person, made in ((ann, first), (ben, second)):
            await person.connect(box.settings.livekit_url, made["participant_token"])

        async def met() -> bool:
            return "ben" in ann.remote_participants and "ann" in ben.remote_participants

        await eventually(met, what="the meeting")
        await box.http.post(f"{SESSIONS}/{first['session_id']}/end")

        async def closed() -> bool:
            return not ann.isconnected() and not ben.isconnected()

        await eventually(closed, what="the end")
    finally:
        await ann.disconnect()
        await ben.disconnect()
    third = await token(box, room_name="lobby")
    assert third["session_id"] != first["session_id"]
    assert await status_of(box, third["participant_token"]) == 200
    ended = (await box.http.get(f"{SESSIONS}/{first['session_id']}")).json()
    assert ended["state"] == "completed"


async def test_a_token_of_the_last_call_is_put_out_of_the_next(box: Box) -> None:
    old = await token(box, room_name="lobby", participant_identity="ben")
    await box.http.post(f"{SESSIONS}/{old['session_id']}/end")
    new = await token(box, room_name="lobby", participant_identity="ann")
    ann, ben = rtc.Room(), rtc.Room()
    put_out = asyncio.Event()
    ben.on("disconnected", lambda _reason: put_out.set())
    try:
        await ann.connect(box.settings.livekit_url, new["participant_token"])
        await ben.connect(box.settings.livekit_url, old["participant_token"])
        await asyncio.wait_for(put_out.wait(), 30)

        async def alone() -> bool:
            return not ann.remote_participants

        await eventually(alone, what="ben's going")
        assert ann.isconnected()
    finally:
        await ann.disconnect()
        await ben.disconnect()


async def test_who_may_only_write_cannot_publish_a_microphone(box: Box) -> None:
    link = await box.http.post("/api/v1/links", json={"name": "Writes", "text_only": True})
    secret = link.json()["url"].rpartition("/")[2]
    opened = await box.http.post(
        "/api/v1/guest/sessions", json={}, headers={"X-Earshot-Guest": secret}
    )
    made = opened.json()
    guest = rtc.Room()
    try:
        await guest.connect(box.settings.livekit_url, made["token"])
        (person,) = (
            await box.livekit.room.list_participants(
                api.ListParticipantsRequest(room=made["room_name"])
            )
        ).participants
        assert person.permission.can_publish is False
        assert person.permission.can_publish_data is True
        await guest.local_participant.send_text("What do bees make?", topic="lk.chat")
    finally:
        await guest.disconnect()
