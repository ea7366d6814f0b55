"""A headset made of software: speaks recordings at a person's pace, notes when sound is heard.

All times are CLOCK_MONOTONIC seconds; on one host they compare with the agent's.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from livekit import rtc
from numpy.typing import NDArray

from appliance.audio import Pcm, read_audio
from appliance.errors import BadInput

RATE_HZ = 48_000
FRAME = RATE_HZ // 100
# RMS of a 10 ms frame, of full scale 1: Opus carries silence at well under half of this.
_LOUD = 0.0025
_ROOM_NOISE = 0.0003
_FRAME_S = 0.01
# So much of what a busy machine could not send in time is made up for; the source holds no more.
_MADE_UP_S = 0.02

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Clip:
    """One recording, ready to be spoken: mono float32 at 48 kHz."""

    name: str
    samples: Samples
    voiced_from_s: float
    voiced_to_s: float

    @classmethod
    def read(cls, path: Path) -> Clip:
        """Read a wav, flac, mp3 or ogg file.

        Raises:
            BadInput: the file is missing, unreadable or holds no sound.
        """
        if not path.is_file():
            raise BadInput(
                "no_such_file", f"There is no file {path}.", "Give a recording to speak."
            )
        try:
            return cls.from_pcm(path.name, read_audio(path))
        except BadInput as error:
            raise BadInput(error.code, f"{path}: {error.message}", error.hint) from error

    @classmethod
    def from_pcm(cls, name: str, pcm: Pcm) -> Clip:
        """A clip from samples; finds where the voice begins and ends."""
        samples = pcm.resampled(RATE_HZ).samples
        frames = _rms(samples)
        # 34 dB under the loudest 10 ms: keeps soft endings, drops a room's noise.
        voiced = np.nonzero(frames > max(0.02 * float(frames.max(initial=0.0)), 0.002))[0]
        if not len(voiced):
            raise BadInput("no_sound", "It holds no sound.", "Give a recording of speech.")
        return cls(name, samples, float(voiced[0]) * 0.01, float(voiced[-1] + 1) * 0.01)


def _rms(samples: Samples) -> Samples:
    """RMS of each whole 10 ms of 48 kHz samples."""
    whole = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    return np.sqrt(np.mean(np.square(whole), axis=1)) if len(whole) else np.zeros(0, np.float32)


@dataclass(frozen=True)
class Spoken:
    """A clip that was spoken, and when it began and ended."""

    clip: Clip
    began: float
    ended: float

    @property
    def first_voiced(self) -> float:
        """When its first voiced sample was spoken."""
        return self.began + self.clip.voiced_from_s

    @property
    def last_voiced(self) -> float:
        """When its last voiced sample was spoken."""
        return self.ended - (len(self.clip.samples) / RATE_HZ - self.clip.voiced_to_s)


class Microphone:
    """Speaks clips at the pace of a person, with a room's faint noise between them."""

    def __init__(self) -> None:
        self.source = rtc.AudioSource(RATE_HZ, 1, queue_size_ms=50)
        self._queue: asyncio.Queue[tuple[Clip, asyncio.Future[Spoken]]] = asyncio.Queue()
        self._noise = np.random.default_rng(0)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._pump())

    async def say(self, clip: Clip) -> Spoken:
        """Speak the clip to its end."""
        spoken: asyncio.Future[Spoken] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((clip, spoken))
        return await spoken

    async def stop(self) -> None:
        """Send no more."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.source.aclose()

    async def _pump(self) -> None:
        due = time.monotonic()
        current: tuple[Clip, asyncio.Future[Spoken]] | None = None
        at = 0
        began = 0.0
        while True:
            due += _FRAME_S
            # A frame leaves when its last sample has been spoken, as from a real microphone.
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            # What was missed while the machine stood still is spoken later. Sent in a burst it would wait
            # in the source, which plays no faster than people speak, and so would every later word.
            due = max(due, time.monotonic() - _MADE_UP_S)
            frame = self._noise.standard_normal(FRAME).astype(np.float32) * _ROOM_NOISE
            if current is None and not self._queue.empty():
                current, at = self._queue.get_nowait(), 0
                began = due - _FRAME_S
            if current is not None:
                clip, spoken = current
                piece = clip.samples[at : at + FRAME]
                frame[: len(piece)] += piece
                at += FRAME
                if at >= len(clip.samples):
                    if not spoken.done():
                        unsaid_s = (at - len(clip.samples)) / RATE_HZ
                        spoken.set_result(Spoken(clip, began, due - unsaid_s))
                    current = None
            pcm16 = (np.clip(frame, -1, 1) * 32767).astype(np.int16)
            await self.source.capture_frame(rtc.AudioFrame(pcm16.tobytes(), RATE_HZ, 1, FRAME))


class Ear:
    """What the caller hears: 10 ms frames with their arrival times."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.loudness: list[float] = []
        self.frames: list[NDArray[np.int16]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def attach(self, track: rtc.Track) -> None:
        """Listen to this track, too."""
        self._tasks.append(asyncio.create_task(self._listen(track)))

    async def _listen(self, track: rtc.Track) -> None:
        stream = rtc.AudioStream(track, sample_rate=RATE_HZ, num_channels=1, frame_size_ms=10)
        try:
            async for event in stream:
                frame = np.frombuffer(event.frame.data, np.int16).copy()
                self.times.append(time.monotonic())
                self.loudness.append(float(np.sqrt(np.mean(np.square(frame / 32768.0)))))
                self.frames.append(frame)
        finally:
            await stream.aclose()

    def first_loud(self, since: float) -> float | None:
        """When sound was first heard at or after ``since``."""
        start = bisect_left(self.times, since)
        for moment, loud in zip(self.times[start:], self.loudness[start:], strict=True):
            if loud > _LOUD:
                return moment
        return None

    def last_loud(self) -> float:
        """When sound was last heard; 0 if never."""
        for moment, loud in zip(reversed(self.times), reversed(self.loudness), strict=True):
            if loud > _LOUD:
                return moment
        return 0.0

    def silent_from(self, since: float, gap_s: float) -> float | None:
        """When sound ended for at least ``gap_s`` at or after ``since``; None if it goes on."""
        last = since
        for moment, loud in zip(self.times, self.loudness, strict=True):
            if moment < since:
                continue
            if loud > _LOUD:
                if moment - last > gap_s:
                    return last
                last = moment
        return last if time.monotonic() - last > gap_s else None

    def recording(self) -> Pcm:
        """Everything heard so far."""
        frames = self.frames or [np.zeros(0, np.int16)]
        return Pcm(np.concatenate(frames).astype(np.float32) / 32768.0, RATE_HZ)

    async def stop(self) -> None:
        """Listen no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
