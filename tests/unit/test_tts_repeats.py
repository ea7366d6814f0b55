"""Sentences that come again are kept, up to a limit; the breath before the first is shortened."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.audio import Samples
from services.tts.repeats import Repeats
from services.tts.start import Start

pytestmark = pytest.mark.unit

RATE_HZ = 22050


def sound(value: float, samples: int = 1000) -> Samples:
    return np.full(samples, value, np.float32)


def test_a_sentence_comes_back_as_it_was() -> None:
    repeats = Repeats(1 << 20)
    key = repeats.key("joe", 1.0, "Hello.")
    assert repeats.get(key) is None
    repeats.put(key, sound(0.25))
    assert repeats.get(key) == pytest.approx(sound(0.25), abs=1e-4)


@pytest.mark.parametrize(
    "other", [("ann", 1.0, "Hello."), ("joe", 1.1, "Hello."), ("joe", 1.0, "Hello")]
)
def test_voice_pace_and_text_tell_sentences_apart(other: tuple[str, float, str]) -> None:
    repeats = Repeats(1 << 20)
    repeats.put(repeats.key("joe", 1.0, "Hello."), sound(0.25))
    assert repeats.get(repeats.key(*other)) is None


def test_the_longest_unused_gives_way() -> None:
    repeats = Repeats(3 * 2000)
    keys = [repeats.key("joe", 1.0, str(number)) for number in range(4)]
    for key in keys[:3]:
        repeats.put(key, sound(0.1))
    assert repeats.get(keys[0]) is not None
    repeats.put(keys[3], sound(0.1))
    assert [repeats.get(key) is not None for key in keys] == [True, False, True, True]


def test_what_is_put_twice_counts_once() -> None:
    repeats = Repeats(2 * 2000)
    first, second = (repeats.key("joe", 1.0, text) for text in "ab")
    for _time in range(5):
        repeats.put(first, sound(0.1))
    repeats.put(second, sound(0.2))
    assert repeats.get(first) is not None


def test_nothing_is_kept_without_memory_for_it() -> None:
    repeats = Repeats(0)
    key = repeats.key("joe", 1.0, "Hello.")
    repeats.put(key, sound(0.1))
    assert repeats.get(key) is None


@pytest.mark.parametrize("step", [50, 400, 5000])
def test_the_breath_is_shortened_and_no_sound_lost(step: int) -> None:
    spoken = np.concatenate([sound(0.0005, round(0.1 * RATE_HZ)), sound(0.2, 2000)])
    start = Start(RATE_HZ, 1.0)
    left = np.concatenate(
        [start.after(spoken[at : at + step]) for at in range(0, len(spoken), step)]
    )
    loud = int(np.flatnonzero(left > 0.1)[0]) / RATE_HZ
    assert len(left) - 2000 == pytest.approx(loud * RATE_HZ)
    assert loud == pytest.approx(0.025, abs=0.001)


def test_a_voice_that_is_turned_down_is_not_taken_for_silence() -> None:
    spoken = np.concatenate([sound(0.00005, round(0.1 * RATE_HZ)), sound(0.002, 4000)])
    assert len(Start(RATE_HZ, 0.1).after(spoken)) == 4000 + round(0.025 * RATE_HZ)


def test_a_long_silence_is_not_eaten() -> None:
    start = Start(RATE_HZ, 1.0)
    left = [start.after(sound(0.0, 441)) for _piece in range(50)]
    assert sum(map(len, left)) == round(0.8 * RATE_HZ)
    assert len(start.rest()) == 0


def test_a_whisper_that_ends_before_it_is_audible_is_not_lost() -> None:
    start = Start(RATE_HZ, 1.0)
    heard = [start.after(sound(0.001, 441)) for _piece in range(3)]
    assert sum(map(len, heard)) + len(start.rest()) == round(0.025 * RATE_HZ)
