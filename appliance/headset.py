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


class Microphone:
    """Speaks clips at the pace of a person, with a room's faint noise between them."""

    def __init__(self) -> None:
        self.source = rtc.AudioSource(RATE_HZ, 1, queue_size_ms=50)
        self._queue: asyncio.Queue[tuple[Clip, asyncio.Future[float]]] = asyncio.Queue()
        self._noise = np.random.default_rng(0)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._pump())

    async def say(self, clip: Clip) -> float:
        """Speak the clip to its end; returns when its first sample was spoken."""
        spoken: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((clip, spoken))
        return await spoken

    async def stop(self) -> None:
        """Send no more."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.source.aclose()

    async def _pump(self) -> None:
        began = time.monotonic()
        sent = 0
        current: tuple[Clip, asyncio.Future[float]] | None = None
        at = 0
        clip_began = 0.0
        while True:
            sent += 1
            # A frame leaves when its last sample has been spoken, as from a real microphone.
            await asyncio.sleep(max(0.0, began + sent * 0.01 - time.monotonic()))
            frame = self._noise.standard_normal(FRAME).astype(np.float32) * _ROOM_NOISE
            if current is None and not self._queue.empty():
                current, at = self._queue.get_nowait(), 0
                clip_began = began + (sent - 1) * 0.01
            if current is not None:
                piece = current[0].samples[at : at + FRAME]
                frame[: len(piece)] += piece
                at += FRAME
                if at >= len(current[0].samples):
                    if not current[1].done():
                        current[1].set_result(clip_began)
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
