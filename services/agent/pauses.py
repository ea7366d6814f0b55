"""A voice detector that says "the caller paused" only when the words of the pause are there.

The session ends a turn some time after the pause with the words it has; told of the pause
before the last words, it answers the first half of a sentence and then the second.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time

from livekit.agents import vad

# A transcript that takes longer than this is a failure, and the ear says so itself.
_PATIENCE_S = 2.0


class PatientDetector(vad.VAD):
    """The session's voice detector.

    Args:
        inner: the real detector, not the ear's.
        settled: set while the ear owes no transcript.
    """

    def __init__(self, inner: vad.VAD, settled: asyncio.Event) -> None:
        super().__init__(capabilities=inner.capabilities)
        self.inner = inner
        self.settled = settled

    @property
    def model(self) -> str:
        """The real detector's model."""
        return self.inner.model

    @property
    def provider(self) -> str:
        """The real detector's maker."""
        return self.inner.provider

    @property
    def min_silence_duration(self) -> float | None:
        """Pause that ends a stretch of speech, in seconds; the turn detector asks."""
        value: float | None = getattr(self.inner, "min_silence_duration", None)
        return value

    def stream(self) -> vad.VADStream:
        """Watch one microphone."""
        return _PatientStream(self)


class _PatientStream(vad.VADStream):
    def __init__(self, detector: PatientDetector) -> None:
        super().__init__(detector)
        self._detector = detector
        self._pause: vad.VADEvent | None = None
        self._paused_at = 0.0
        self._waiting: asyncio.Task[None] | None = None

    async def _main_task(self) -> None:
        inner = self._detector.inner.stream()
        feeding = asyncio.create_task(self._feed(inner), name="pauses.feed")
        try:
            async for event in inner:
                if event.type == vad.VADEventType.END_OF_SPEECH:
                    self._hold(event)
                    continue
                if event.type == vad.VADEventType.START_OF_SPEECH and self._pause is not None:
                    # The caller went on before the words of the pause were there. Told of it now, the
                    # session would answer at once what was said before it: to it there was no pause.
                    self._forget()
                    continue
                self._event_ch.send_nowait(event)
            self._let_go()
        finally:
            feeding.cancel()
            if self._waiting is not None:
                self._waiting.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await inner.aclose()

    async def _feed(self, inner: vad.VADStream) -> None:
        async for frame in self._input_ch:
            if isinstance(frame, self._FlushSentinel):
                inner.flush()
            else:
                inner.push_frame(frame)
        inner.end_input()

    def _hold(self, pause: vad.VADEvent) -> None:
        self._pause, self._paused_at = pause, time.monotonic()
        if self._detector.settled.is_set():
            self._let_go()
        else:
            self._waiting = asyncio.create_task(self._wait(), name="pauses.wait")

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._detector.settled.wait(), _PATIENCE_S)
        self._waiting = None
        self._let_go()

    def _let_go(self) -> None:
        pause = self._pause
        self._forget()
        if pause is not None:
            silence_s = pause.silence_duration + time.monotonic() - self._paused_at
            self._event_ch.send_nowait(dataclasses.replace(pause, silence_duration=silence_s))

    def _forget(self) -> None:
        self._pause = None
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
