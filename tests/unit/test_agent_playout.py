"""Sound that is held back and taken up again, and what of it was heard."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

import numpy as np
import pytest
from livekit import rtc
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT
from livekit.agents.voice import io
from livekit.agents.voice.io import TimedString

from services.agent.playout import Playout
from services.agent.voice import RATE_HZ
from tests.agent_fakes import WAIT_S, until
from tests.agent_stage import PacedLoudspeaker

pytestmark = pytest.mark.unit

FRAME = RATE_HZ // 20


class Clock:
    """Stands still until the test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Stand:
    """A playout before a loudspeaker, and what it reports."""

    def __init__(self) -> None:
        self.loudspeaker = PacedLoudspeaker()
        # By a clock of its own, a loudspeaker that is held up would be behind its position.
        self.playout = Playout(self.loudspeaker, lambda: self.loudspeaker.heard_s)
        self.finished: list[io.PlaybackFinishedEvent] = []
        self.started = 0
        self.playout.on("playback_finished", self.finished.append)
        self.playout.on("playback_started", self._on_started)

    def _on_started(self, _event: io.PlaybackStartedEvent) -> None:
        self.started += 1

    async def give(self, seconds: float, sentence: str = "") -> None:
        """Hand over silence; it begins with a sentence's text, and may not be the end of it."""
        size = int(seconds * RATE_HZ)
        frame = rtc.AudioFrame(bytes(size * 2), RATE_HZ, 1, size)
        if sentence:
            frame.userdata[USERDATA_TIMED_TRANSCRIPT] = [TimedString(sentence, start_time=0.0)]
        await self.playout.capture_frame(frame)

    async def speak(self, *sentences: str, frames: int = 10) -> bytes:
        """Hand over half a second of a rising count for each sentence, then end."""
        sound = b""
        for number, sentence in enumerate(sentences):
            for part in range(frames):
                start = (number * frames + part) * FRAME
                pcm = (np.arange(start, start + FRAME) % 30000).astype(np.int16).tobytes()
                frame = rtc.AudioFrame(pcm, RATE_HZ, 1, FRAME)
                if not part:
                    text = TimedString(sentence, start_time=number * frames * 0.05)
                    frame.userdata[USERDATA_TIMED_TRANSCRIPT] = [text]
                await self.playout.capture_frame(frame)
                sound += pcm
        self.playout.flush()
        return sound


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    made = Stand()
    yield made
    made.playout.clear_buffer()


async def over(stand: Stand) -> io.PlaybackFinishedEvent:
    async with asyncio.timeout(WAIT_S):
        return await stand.playout.wait_for_playout()


async def test_an_answer_passes_unchanged(stand: Stand) -> None:
    sound = await stand.speak("One. ", "Two.", frames=3)
    event = await over(stand)
    assert (event.interrupted, round(event.playback_position, 2)) == (False, 0.3)
    assert bytes(stand.loudspeaker.played) == sound
    assert (len(stand.finished), stand.started) == (1, 1)


async def test_the_rest_is_known_of_an_answer_that_sounds_and_is_all_there(stand: Stand) -> None:
    def rest_s() -> float:
        found = stand.playout.rest_s
        return math.inf if found is None else found

    assert rest_s() == math.inf
    await stand.give(0.5)
    await until(lambda: stand.loudspeaker.heard_s >= 0.1)
    assert rest_s() == math.inf
    stand.playout.flush()
    assert 0 <= rest_s() <= 0.4
    await over(stand)
    assert rest_s() == math.inf
    stand.playout.pause()
    await stand.speak("One.")
    assert rest_s() == math.inf, "nobody has heard any of it"


async def test_what_is_held_back_goes_on_with_no_sample_lost(stand: Stand) -> None:
    sound = await stand.speak("One. ", "Two.")
    await until(lambda: stand.loudspeaker.heard_s >= 0.3)
    stand.playout.pause()
    first = bytes(stand.loudspeaker.played)
    assert len(first) < len(sound) / 2
    assert stand.playout.paused
    assert not stand.finished
    stand.playout.resume()
    event = await over(stand)
    assert not event.interrupted
    assert event.playback_position == pytest.approx(1.0)
    again = bytes(stand.loudspeaker.played)[len(first) :]
    # It goes on a syllable before the place where it stopped, and to the end.
    assert sound.endswith(again)
    repeated = len(first) + len(again) - len(sound)
    assert 0 <= repeated / 2 / RATE_HZ <= 0.16
    assert (len(stand.finished), stand.started) == (1, 1)


async def test_sound_that_comes_while_it_is_held_back_is_kept(stand: Stand) -> None:
    stand.playout.pause()
    sound = await stand.speak("One. ", "Two.", frames=3)
    assert not stand.loudspeaker.heard_s
    stand.playout.resume()
    assert not (await over(stand)).interrupted
    assert bytes(stand.loudspeaker.played) == sound


async def test_it_can_be_held_back_more_than_once(stand: Stand) -> None:
    sound = await stand.speak("One. ", "Two.")
    for _ in range(3):
        heard_s = stand.loudspeaker.heard_s
        await until(lambda heard_s=heard_s: stand.loudspeaker.heard_s >= heard_s + 0.2)  # type: ignore[misc]
        stand.playout.pause()
        stand.playout.pause()
        stand.playout.resume()
    await over(stand)
    assert sound.endswith(bytes(stand.loudspeaker.played)[-RATE_HZ // 2 :])
    assert len(stand.finished) == 1


async def test_a_cut_answer_is_reported_with_its_words(stand: Stand) -> None:
    await stand.speak("Here is one. ", "Here is another one.")
    await until(lambda: stand.loudspeaker.heard_s >= 0.6)
    stand.playout.clear_buffer()
    stand.playout.clear_buffer()
    event = await over(stand)
    assert event.interrupted
    assert event.playback_position == pytest.approx(stand.loudspeaker.heard_s)
    assert stand.playout.heard is not None
    assert stand.playout.heard.startswith("Here is one.")
    assert stand.playout.heard != "Here is one. Here is another one."
    assert len(stand.finished) == 1


async def test_cut_while_it_is_held_back_it_ends_where_it_stopped(stand: Stand) -> None:
    await stand.speak("Here is one. ", "Here is another one.")
    await until(lambda: stand.loudspeaker.heard_s >= 0.2)
    stand.playout.pause()
    stopped_s = stand.loudspeaker.heard_s
    stand.playout.clear_buffer()
    event = await over(stand)
    assert event.interrupted
    assert event.playback_position == pytest.approx(stopped_s)
    stand.playout.resume()
    sound = await stand.speak("Another answer.", frames=2)
    assert not (await over(stand)).interrupted
    assert bytes(stand.loudspeaker.played).endswith(sound)
    assert stand.playout.heard is None


async def test_cut_before_any_of_it_was_played(stand: Stand) -> None:
    stand.playout.pause()
    await stand.speak("One. ")
    stand.playout.clear_buffer()
    event = await over(stand)
    assert (event.interrupted, event.playback_position) == (True, 0.0)
    assert stand.playout.heard == ""


async def test_the_end_of_a_sentence_can_be_waited_for(stand: Stand) -> None:
    await stand.playout.sentence_ends()
    await stand.speak("First, a clause, ", "and the end. ", "And more.", frames=6)
    await until(lambda: stand.loudspeaker.heard_s >= 0.1)
    async with asyncio.timeout(WAIT_S):
        await stand.playout.sentence_ends()
    assert 0.5 <= stand.loudspeaker.heard_s < 0.9


async def test_the_end_of_a_sentence_that_is_cut_is_not_waited_for(stand: Stand) -> None:
    await stand.speak("A sentence without an end", frames=20)
    waiting = asyncio.create_task(stand.playout.sentence_ends())
    await until(lambda: stand.loudspeaker.heard_s >= 0.1)
    stand.playout.clear_buffer()
    async with asyncio.timeout(WAIT_S):
        await waiting
    assert stand.loudspeaker.heard_s < 0.9


async def test_a_gap_in_the_sound_brings_the_end_of_a_sentence_no_nearer() -> None:
    stand, clock = Stand(), Clock()
    stand.playout = Playout(stand.loudspeaker, clock)
    await stand.give(0.3, "A sentence that is made slowly.")
    clock.now += 0.2
    assert stand.playout.position_s == pytest.approx(0.2)
    clock.now += 5.0
    assert stand.playout.position_s == pytest.approx(0.3)
    await stand.give(0.7)
    stand.playout.flush()
    assert stand.playout.position_s == pytest.approx(0.3)
    clock.now += 0.5
    assert stand.playout.position_s == pytest.approx(0.8)
    waiting = asyncio.create_task(stand.playout.sentence_ends())
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.now += 0.15
    async with asyncio.timeout(WAIT_S):
        await waiting
    stand.playout.clear_buffer()


async def test_sound_that_comes_in_time_is_no_gap() -> None:
    stand, clock = Stand(), Clock()
    stand.playout = Playout(stand.loudspeaker, clock)
    await stand.give(0.5, "A sentence that is made in time.")
    clock.now += 0.4
    await stand.give(0.5)
    clock.now += 0.3
    assert stand.playout.position_s == pytest.approx(0.7)
    stand.playout.clear_buffer()
