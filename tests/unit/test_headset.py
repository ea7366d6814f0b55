"""Where a clip's voice begins and ends, and when sound was heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from appliance.audio import Pcm
from appliance.errors import BadInput
from appliance.headset import RATE_HZ, Clip, Ear

pytestmark = pytest.mark.unit


def _tone(seconds: float, level: float = 0.3) -> np.ndarray:
    wave = np.sin(np.arange(int(seconds * RATE_HZ), dtype=np.float32) * np.float32(0.05))
    return np.asarray(level * wave, dtype=np.float32)


def test_the_voiced_part_is_found() -> None:
    noise = np.random.default_rng(1).standard_normal(RATE_HZ // 2).astype(np.float32) * 0.001
    clip = Clip.from_pcm("x", Pcm(np.concatenate([noise, _tone(1.0), noise]), RATE_HZ))
    assert clip.voiced_from_s == pytest.approx(0.5, abs=0.011)
    assert clip.voiced_to_s == pytest.approx(1.5, abs=0.011)


def test_any_rate_becomes_48_khz() -> None:
    samples = np.sin(np.arange(16000) * 0.1).astype(np.float32)
    assert len(Clip.from_pcm("x", Pcm(samples, 16000)).samples) == pytest.approx(48000, abs=100)


@pytest.mark.parametrize("samples", [np.zeros(48000, np.float32), np.zeros(0, np.float32)])
def test_silence_is_no_recording(samples: np.ndarray) -> None:
    with pytest.raises(BadInput, match="holds no sound"):
        Clip.from_pcm("x", Pcm(samples, RATE_HZ))


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no file"):
        Clip.read(tmp_path / "no.wav")


def test_when_sound_was_heard() -> None:
    ear = Ear()
    loud = [0, 0, 1, 1, 0, 0, 0, 0, 1, 0]
    ear.times = [float(i) for i in range(10)]
    ear.loudness = [0.1 * value for value in loud]
    assert ear.first_loud(0.0) == 2.0
    assert ear.first_loud(3.5) == 8.0
    assert ear.first_loud(8.5) is None
    assert ear.last_loud() == 8.0
    assert ear.silent_from(1.5, gap_s=3.0) == 3.0
