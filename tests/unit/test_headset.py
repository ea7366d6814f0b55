"""Where a clip's voice begins and ends, and when sound was heard."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import numpy as np
import pytest
from livekit import rtc

from appliance.audio import Pcm
from appliance.errors import BadInput
from appliance.headset import RATE_HZ, Clip, Ear, Microphone, Spoken

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


class Machine:
    """A clock that goes on while one sleeps, a source that plays no faster than people speak."""

    def __init__(self) -> None:
        self.now = 100.0
        self.stands_still_at: dict[int, float] = {}
        self.sent: list[tuple[float, bool]] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await _REAL_SLEEP(0)

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        loud = np.abs(np.frombuffer(frame.data, np.int16)).max() > 3000
        self.sent.append((self.now, bool(loud)))
        self.now += self.stands_still_at.pop(len(self.sent), 0.0)

    async def aclose(self) -> None:
        """Nothing is open."""


_REAL_SLEEP = asyncio.sleep


async def _spoken(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Spoken:
    monkeypatch.setattr("appliance.headset.time.monotonic", machine.monotonic)
    monkeypatch.setattr("appliance.headset.asyncio.sleep", machine.sleep)
    microphone = Microphone()
    await microphone.source.aclose()
    microphone.source = machine  # type: ignore[assignment]
    microphone.start()
    clip = Clip.from_pcm("x", Pcm(np.concatenate([_tone(0.5), np.zeros(4800)]), RATE_HZ))
    try:
        return await microphone.say(clip)
    finally:
        await microphone.stop()


async def test_a_clip_is_spoken_at_the_pace_of_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    spoken = await _spoken(machine, monkeypatch)
    loud = [moment for moment, is_loud in machine.sent if is_loud]
    assert spoken.ended - spoken.began == pytest.approx(0.6)
    # A frame leaves when it has been spoken to its end.
    assert spoken.first_voiced == pytest.approx(loud[0] - 0.01)
    assert spoken.last_voiced == pytest.approx(loud[-1])


@pytest.mark.parametrize("frame", [1, 30])
async def test_after_a_standstill_nothing_waits_to_be_spoken(
    monkeypatch: pytest.MonkeyPatch, frame: int
) -> None:
    machine = Machine()
    machine.stands_still_at = {frame: 0.7}
    spoken = await _spoken(machine, monkeypatch)
    moments = [moment for moment, _ in machine.sent]
    early = [b - a for a, b in itertools.pairwise(moments) if b - a < 0.009]
    # Two frames may be made up for, which the source can hold.
    assert len(early) <= 2
    assert spoken.last_voiced == pytest.approx(
        [m for m, loud in machine.sent if loud][-1], abs=0.021
    )
    assert spoken.ended - spoken.began == pytest.approx(1.28, abs=0.021)
