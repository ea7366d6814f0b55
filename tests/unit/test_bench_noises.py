"""The noises of a benchmark: no part of a word is in a cut, and every recording gives what it has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from appliance.headset import RATE_HZ
from appliance.settings import PROJECT_DIR
from bench.noises import cuts, noises

pytestmark = pytest.mark.unit

WORDS = [(0.5, 1.0), (2.0, 2.4)]


def _voice(*spans_s: tuple[float, float], seconds: float = 4.5) -> NDArray[np.float32]:
    sound = np.zeros(round(seconds * RATE_HZ), np.float32)
    for start_s, end_s in spans_s:
        span = slice(round(start_s * RATE_HZ), round(end_s * RATE_HZ))
        sound[span] = 0.1 * np.sin(np.arange(span.stop - span.start) / 20)
    return sound


def test_a_cut_ends_where_a_word_begins() -> None:
    """An "uh" that runs into the next word is kept, without the word."""
    alone, into_the_word, too_short, too_faint = (1.2, 1.5), (1.75, 2.4), (2.8, 2.9), (3.3, 3.9)
    sound = _voice((0.5, 1.0), alone, into_the_word, too_short)
    sound += _voice(too_faint) * np.float32(0.01)
    # Its own pause of 0.25 s is more than lies between the bursts of a laugh.
    first, second = cuts(sound, WORDS)
    assert len(first) / RATE_HZ == pytest.approx(0.38, abs=0.05)
    assert len(second) / RATE_HZ == pytest.approx(0.29, abs=0.05)
    assert cuts(np.zeros(RATE_HZ, np.float32), []) == []


def test_each_recording_comes_first_then_clicks_then_variants(tmp_path: Path) -> None:
    sound = _voice((0.5, 1.0), (1.3, 1.7), (2.0, 2.4), (2.9, 3.6), (4.1, 4.4))
    soundfile.write(tmp_path / "a.wav", sound, RATE_HZ)
    soundfile.write(tmp_path / "b.wav", _voice((0.1, 0.9), seconds=1.0), RATE_HZ)
    soundfile.write(tmp_path / "c.wav", _voice((1.0, 2.0), seconds=6.0), RATE_HZ)
    soundfile.write(tmp_path / "d.wav", _voice((0.5, 1.0), (2.0, 2.4)), RATE_HZ)
    listed = [
        {"file": "a.wav", "kind": "nonlexical", "words": WORDS},
        {"file": "b.wav", "kind": "nonlexical"},
        {"file": "c.wav", "kind": "nonlexical"},
        {"file": "d.wav", "kind": "nonlexical", "words": WORDS},
        {"file": "e.wav", "kind": "speech"},
    ]
    (tmp_path / "manifest.json").write_text(json.dumps(listed))

    found = noises(tmp_path, 12)
    assert [(clip.name, made) for clip, made in found.clips] == [
        ("a-cut0", "cut"), ("b", "recorded"), ("a-cut1", "cut"),
        ("click", "synthetic"), ("knocks", "synthetic"), ("door", "synthetic"),
        ("pen", "synthetic"), ("hum", "synthetic"), ("hiss", "synthetic"),
        ("a-cut0-quieter", "quieter cut"), ("b-quieter", "quieter cut"),
        ("a-cut1-quieter", "quieter cut"),
    ]  # fmt: skip
    assert found.unused == [
        "c.wav: where its words are is not known", "d.wav: it holds only words",
    ]  # fmt: skip
    # The longest is its first; clicks are not given up for a second cut.
    assert [clip.name for clip, _made in noises(tmp_path, 8).clips][:3] == ["a-cut0", "b", "click"]


def test_the_repositorys_own_sounds_are_taken_whole() -> None:
    found = noises(PROJECT_DIR / "tests" / "data" / "sounds", 12)
    assert [made for _clip, made in found.clips[:3]] == ["recorded"] * 3
    assert (len(found.clips), found.unused) == (12, [])
