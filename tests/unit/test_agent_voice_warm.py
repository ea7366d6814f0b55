"""The greeting is made while the room is still being joined, as it will be asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from services.agent.upstream import Upstream
from services.agent.voice import Voice
from tests.agent_fakes import WAIT_S, serving, until

pytestmark = pytest.mark.unit

GREETING = "Hello and welcome, this is Earshot. How can I help you today?"


class FakeTts:
    """A voice service that notes what is asked, and answers with ``status``."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.status = 200

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        self.asked.append((request.headers["X-Earshot-Priority"], body["input"]))
        return web.Response(body=b"\0\0" * 4800, status=self.status)


def make(socket: Path, greeting: str) -> Voice:
    upstream = Upstream("http://tts", str(socket), "call-1")
    return Voice(upstream, voice="joe", on_text=lambda: None, greeting=greeting)


async def test_the_greeting_is_asked_for_piece_by_piece(tmp_path: Path) -> None:
    fake = FakeTts()
    async with serving(tmp_path / "tts.sock", "/v1/audio/speech", fake.handle):
        voice = make(tmp_path / "tts.sock", GREETING)
        voice.prewarm()
        voice.prewarm()
        await until(lambda: len(fake.asked) == 2)
        # What is said later is the same request, or the service would not know it again.
        async with voice.synthesize("Hello and welcome,") as speech:
            assert [audio async for audio in speech]
        await voice.aclose()
    assert fake.asked == [
        ("speculative", "Hello and welcome,"),
        ("speculative", "this is Earshot. How can I help you today?"),
        ("live", "Hello and welcome,"),
    ]
    assert fake.bodies[2] == fake.bodies[0]


async def test_without_a_greeting_nothing_is_asked(tmp_path: Path) -> None:
    fake = FakeTts()
    async with serving(tmp_path / "tts.sock", "/v1/audio/speech", fake.handle):
        voice = make(tmp_path / "tts.sock", "")
        voice.prewarm()
        async with voice.synthesize("Hello.") as speech:
            assert [audio async for audio in speech]
        await voice.aclose()
    assert fake.asked == [("live", "Hello.")]


@pytest.mark.parametrize("status", [409, 503])
async def test_a_voice_that_has_no_time_is_not_asked_again(tmp_path: Path, status: int) -> None:
    fake = FakeTts()
    fake.status = status
    async with serving(tmp_path / "tts.sock", "/v1/audio/speech", fake.handle):
        voice = make(tmp_path / "tts.sock", GREETING)
        voice.prewarm()
        assert voice._warming is not None
        await asyncio.wait_for(voice._warming, WAIT_S)
        await voice.aclose()
    assert len(fake.asked) == 1


async def test_a_voice_that_is_away_does_no_harm(tmp_path: Path) -> None:
    voice = make(tmp_path / "nobody.sock", GREETING)
    voice.prewarm()
    assert voice._warming is not None
    await asyncio.wait_for(voice._warming, WAIT_S)
    await voice.aclose()
