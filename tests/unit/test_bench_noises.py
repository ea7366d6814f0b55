"""The noises of a benchmark: no part of a word is in a cut, and made ones only fill up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from appliance.audio import Pcm
from appliance.headset import RATE_HZ
from bench.noises import cuts, noises

pytestmark = pytest.mark.unit

WORDS = [(0.5, 1.0), (2.0, 2.4)]


def _voice(*spans_s: tuple[float, float], seconds: float = 4.5) -> NDArray[np.float32]:
    sound = np.zeros(round(seconds * RATE_HZ), np.float32)
    for start_s, end_s in spans_s:
        span = slice(round(start_s * RATE_HZ), round(end_s * RATE_HZ))
        sound[span] = 0.1 * np.sin(np.arange(span.stop - span.start) / 20)
    return sound


def test_what_touches_a_word_or_is_too_short_is_no_cut() -> None:
    """An "um" that runs into its neighbour would bring a part of a word."""
    alone, into_the_word = (1.3, 1.7), (1.9, 2.4)
    too_near, too_short, too_faint = (2.46, 2.8), (3.1, 3.2), (3.5, 3.9)
    sound = _voice((0.5, 1.0), alone, into_the_word, too_near, too_short)
    sound += _voice(too_faint) * np.float32(0.01)
    (cut,) = cuts(sound, WORDS)
    assert abs(len(cut) / RATE_HZ - 0.48) < 0.05
    assert cuts(np.zeros(RATE_HZ, np.float32), []) == []


def test_recordings_come_first_and_clicks_fill_up(tmp_path: Path) -> None:
    def words_in(pcm: Pcm) -> list[tuple[float, float]]:
        return WORDS if pcm.duration_s == 4.5 else []

    soundfile.write(tmp_path / "a-words.wav", _voice((0.5, 1.0), (1.3, 1.7)), RATE_HZ)
    soundfile.write(tmp_path / "b-short.wav", _voice((0.1, 0.9), seconds=1.0), RATE_HZ)
    # The ear found nothing in it: that its sounds are no words is not known.
    soundfile.write(tmp_path / "c-missed.wav", _voice((1.0, 2.0), seconds=6.0), RATE_HZ)

    found = [(clip.name, made) for clip, made in noises(tmp_path, 9, words_in)]
    assert found == [
        ("a-words-cut0", "cut"), ("b-short", "recorded"),
        ("a-words-cut0-quieter", "quieter cut"), ("b-short-quieter", "quieter cut"),
        ("a-words-cut0-twice", "cut twice"), ("b-short-twice", "cut twice"),
        ("a-words-cut0-b-short", "two cuts"),
        ("click", "synthetic"), ("knocks", "synthetic"),
    ]  # fmt: skip
    assert len(noises(tmp_path, 20, words_in)) == 13
