"""The ear between a voice detector and the stt service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import stt

from services.agent.ear import Ear, EarEvents
from services.agent.speculation import Speculation
from services.agent.upstream import Upstream
from services.agent.utterance import RATE_HZ, Heard
from tests.agent_fakes import FakeDetector, FakeStt, FakeWindows, serving, until

pytestmark = pytest.mark.unit

Kind = stt.SpeechEventType
ROUTE = "/v1/audio/transcriptions"


class Listener:
    """An ear on a fake service; what it told."""

    def __init__(self, socket: Path) -> None:
        self.detector = FakeDetector()
        self.events: list[tuple[Kind, str]] = []
        self.errors: list[stt.STTError] = []
        self.unheard: list[float] = []
        self.speech_ends: list[float] = []
        self.partials: list[str] = []
        self.load = 0.0
        self.speculation = Speculation("en", lambda: self.load)
        self.ear = Ear(
            Upstream("http://stt", str(socket), "s1"), self.detector,
            model="m", language="en", speculate_after_s=0.1,
            events=EarEvents(
                on_unheard=self.unheard.append, on_speech_end=self.speech_ends.append,
                on_partial=self.partials.append, speculation=self.speculation,
            ),
        )  # fmt: skip
        self.ear.on("error", self.errors.append)
        self.stream = self.ear.stream()
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for event in self.stream:
            self.events.append((event.type, event.alternatives[0].text))

    async def windows(self) -> FakeWindows:
        await until(lambda: self.detector.streams)
        return self.detector.streams[0]

    async def aclose(self) -> None:
        await self.stream.aclose()
        await self.task
        await self.ear.aclose()


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[FakeStt]:
    fake = FakeStt()
    async with serving(tmp_path / "stt.sock", ROUTE, fake.handle):
        yield fake


@pytest.fixture
async def listener(tmp_path: Path, service: FakeStt) -> AsyncIterator[Listener]:
    made = Listener(tmp_path / "stt.sock")
    yield made
    await made.aclose()


async def test_a_pause_brings_a_guess_that_becomes_the_final(
    listener: Listener, service: FakeStt
) -> None:
    windows = await listener.windows()
    windows.start()
    windows.voiced(3)
    windows.silent(4)
    await until(lambda: listener.events)
    assert listener.events == [(Kind.PREFLIGHT_TRANSCRIPT, "Hello there.")]
    windows.silent(4)
    windows.end()
    await until(lambda: len(listener.events) == 2)
    assert listener.events[1] == (Kind.FINAL_TRANSCRIPT, "Hello there.")
    assert service.asked == ["speculative"]
    assert service.sessions == ["s1"]
    assert listener.ear.settled.is_set()
    assert len(listener.speech_ends) == 1


async def test_no_guess_before_the_silence_is_long_enough(
    listener: Listener, service: FakeStt
) -> None:
    windows = await listener.windows()
    windows.start()
    windows.silent(3)
    windows.voiced()
    windows.end()
    await until(lambda: listener.events)
    assert service.asked == ["live"]


async def test_speech_that_goes_on_cancels_the_guess(listener: Listener, service: FakeStt) -> None:
    windows = await listener.windows()
    service.go.clear()
    windows.start()
    windows.silent(5)
    await until(lambda: service.asked)
    windows.voiced()
    await until(lambda: service.gone == ["speculative"])
    service.go.set()
    service.text = "Hello there, friend."
    windows.silent(8)
    windows.end()
    await until(lambda: (Kind.FINAL_TRANSCRIPT, "Hello there, friend.") in listener.events)
    assert (Kind.PREFLIGHT_TRANSCRIPT, "Hello there.") not in listener.events


async def test_a_guess_given_up_by_the_service_is_asked_again_live(
    listener: Listener, service: FakeStt
) -> None:
    windows = await listener.windows()
    service.status = 409
    windows.start()
    windows.silent(5)
    await until(lambda: service.asked)
    service.status = 200
    windows.end()
    await until(lambda: listener.events)
    assert listener.errors == []
    assert service.asked[-1] == "live"


async def test_a_dead_service_is_one_error_and_the_ear_goes_on(
    listener: Listener, service: FakeStt
) -> None:
    windows = await listener.windows()
    service.status = 503
    windows.start()
    windows.silent(8)
    windows.end()
    await until(lambda: listener.errors)
    assert not listener.errors[0].recoverable
    assert listener.ear.settled.is_set()
    service.status = 200
    windows.start()
    windows.silent(8)
    windows.end()
    await until(lambda: (Kind.FINAL_TRANSCRIPT, "Hello there.") in listener.events)
    assert len(listener.errors) == 1


async def test_nothing_heard_is_no_transcript(listener: Listener, service: FakeStt) -> None:
    windows = await listener.windows()
    service.text = ""
    windows.start()
    windows.silent(8)
    windows.end(voiced_s=1.5)
    await until(lambda: listener.unheard)
    assert listener.events == []
    assert listener.unheard == [1.5]


async def test_finals_keep_their_order(listener: Listener, service: FakeStt) -> None:
    windows = await listener.windows()
    service.go.clear()
    for _ in range(2):
        windows.start()
        windows.voiced()
        windows.end()
    await until(lambda: len(service.asked) == 2)
    assert not listener.ear.settled.is_set()
    service.go.set()
    await until(lambda: len(listener.events) == 2)
    await until(listener.ear.settled.is_set)


async def test_partials_while_speaking_give_way_to_a_pause(
    listener: Listener, service: FakeStt, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pace in ("_PARTIAL_EVERY_S", "_PARTIAL_REST"):
        monkeypatch.setattr(f"services.agent.utterance.{pace}", 0.0)
    windows = await listener.windows()
    windows.start()
    windows.voiced()
    await until(lambda: listener.events == [(Kind.INTERIM_TRANSCRIPT, "Hello there.")])
    service.go.clear()
    utterance = listener.stream._utterance  # type: ignore[attr-defined]
    await until(lambda: utterance._partial is None)
    windows.voiced()
    await until(lambda: len(service.asked) == 2)
    windows.voiced(5)
    windows.silent()
    await until(lambda: service.gone == ["interim"])
    assert service.asked == ["interim", "interim"]


@pytest.fixture
def long_after_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten windows are as much as one transcript may have."""
    monkeypatch.setattr("services.agent.utterance._LONGEST_S", 10 * 512 / RATE_HZ)


@pytest.mark.usefixtures("long_after_ten")
async def test_endless_speech_is_written_in_pieces_without_a_gap(
    listener: Listener, service: FakeStt, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, heard = listener.ear.transcribe, []

    async def transcribe(pcm: bytes, priority: Any) -> Heard | None:
        if priority == "live":
            heard.append(len(pcm) // 2 // 512)
        return await real(pcm, priority)

    monkeypatch.setattr(listener.ear, "transcribe", transcribe)
    windows = await listener.windows()
    windows.start()
    windows.voiced(24)
    await until(lambda: len(listener.events) == 2)
    assert not listener.ear.settled.is_set()
    assert listener.speech_ends == []
    windows.end()
    await until(lambda: len(listener.events) == 3)
    # The window that starts the speech is in the first piece.
    assert heard == [10, 10, 5]
    assert {kind for kind, _ in listener.events} == {Kind.FINAL_TRANSCRIPT}
    assert len(listener.speech_ends) == 1


@pytest.mark.usefixtures("long_after_ten")
async def test_a_rest_that_is_only_silence_is_neither_asked_nor_missed(
    listener: Listener, service: FakeStt
) -> None:
    windows = await listener.windows()
    windows.start()
    windows.voiced(9)
    await until(lambda: listener.events)
    windows.silent(8)
    windows.end(voiced_s=30)
    await until(listener.ear.settled.is_set)
    assert service.asked == ["live"]
    assert all(voiced_s < 1 for voiced_s in listener.unheard)


async def test_a_socket_that_is_not_there_is_an_error_of_the_frameworks_kind(
    tmp_path: Path,
) -> None:
    alone = Listener(tmp_path / "nobody.sock")
    windows = await alone.windows()
    windows.start()
    windows.end()
    await until(lambda: alone.errors)
    await alone.aclose()


@pytest.mark.parametrize(("words", "load"), [("What is the", 0.0), ("Hello there.", 99.0)])
async def test_a_guess_that_is_not_worth_an_answer_is_only_shown(
    listener: Listener, service: FakeStt, words: str, load: float
) -> None:
    service.text, listener.load = words, load
    windows = await listener.windows()
    windows.start()
    windows.voiced(3)
    windows.silent(7)
    await until(lambda: listener.events)
    assert listener.events == [(Kind.INTERIM_TRANSCRIPT, words)]
    assert listener.partials == [words]
    windows.end()
    await until(lambda: len(listener.events) == 2)
    assert listener.events[1] == (Kind.FINAL_TRANSCRIPT, words)
    assert service.asked == ["speculative"]


async def test_guesses_in_vain_are_counted(listener: Listener, service: FakeStt) -> None:
    windows = await listener.windows()
    windows.start()
    for _ in range(2):
        windows.voiced(3)
        windows.silent(4)
    windows.end()
    await until(lambda: listener.events and listener.events[-1][0] == Kind.FINAL_TRANSCRIPT)
    assert listener.speculation.begun["transcript"] == 2
    assert listener.speculation.used["transcript"] == 1
