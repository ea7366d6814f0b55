"""The session hears of a pause when the words before it are there."""

from __future__ import annotations

import asyncio

import pytest
from livekit import rtc
from livekit.agents import vad

from services.agent.pauses import PatientDetector
from tests.agent_fakes import FakeDetector, FakeWindows, until

pytestmark = pytest.mark.unit

Kind = vad.VADEventType


class Session:
    """Reads a patient detector as the session does."""

    def __init__(self) -> None:
        self.inner = FakeDetector()
        self.settled = asyncio.Event()
        self.stream = PatientDetector(self.inner, self.settled).stream()
        self.events: list[vad.VADEvent] = []
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for event in self.stream:
            self.events.append(event)

    async def windows(self) -> FakeWindows:
        await until(lambda: self.inner.streams)
        return self.inner.streams[0]

    def kinds(self) -> list[Kind]:
        return [event.type for event in self.events]

    async def aclose(self) -> None:
        await self.stream.aclose()
        await self.task


async def test_a_pause_waits_for_its_words_and_says_so() -> None:
    session = Session()
    windows = await session.windows()
    windows.start()
    windows.silent(8)
    windows.end()
    windows.silent()
    await until(lambda: len(session.events) == 10)
    assert Kind.END_OF_SPEECH not in session.kinds()
    session.settled.set()
    await until(lambda: session.kinds()[-1] == Kind.END_OF_SPEECH)
    assert session.events[-1].silence_duration > windows.silence_s - 0.032
    await session.aclose()


async def test_a_pause_whose_words_are_there_is_told_at_once() -> None:
    session = Session()
    session.settled.set()
    windows = await session.windows()
    windows.start()
    windows.end()
    await until(lambda: session.kinds() == [Kind.START_OF_SPEECH, Kind.END_OF_SPEECH])
    await session.aclose()


async def test_who_goes_on_before_the_words_are_there_has_made_no_pause() -> None:
    session = Session()
    windows = await session.windows()
    windows.start()
    windows.end()
    windows.start()
    windows.voiced()
    windows.end()
    await until(lambda: len(session.events) == 2)
    assert session.kinds() == [Kind.START_OF_SPEECH, Kind.INFERENCE_DONE]
    session.settled.set()
    await until(lambda: len(session.events) == 3)
    assert session.kinds()[-1] == Kind.END_OF_SPEECH
    await session.aclose()


async def test_new_speech_comes_after_the_pause_it_ends() -> None:
    session = Session()
    session.settled.set()
    windows = await session.windows()
    windows.start()
    windows.end()
    windows.start()
    await until(lambda: len(session.events) == 3)
    assert session.kinds() == [Kind.START_OF_SPEECH, Kind.END_OF_SPEECH, Kind.START_OF_SPEECH]
    await session.aclose()


async def test_frames_reach_the_real_detector() -> None:
    session = Session()
    windows = await session.windows()
    session.stream.push_frame(rtc.AudioFrame(b"\0\0" * 320, 16000, 1, 320))
    await until(lambda: windows.frames)
    assert PatientDetector(session.inner, session.settled).min_silence_duration == 0.25
    await session.aclose()
