"""A turn taken as slowly as the detectors and the ear need, so that a busy machine hears the same."""

from __future__ import annotations

import asyncio
from typing import Any

from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    APIConnectOptions,
    inference,
    vad,
)
from livekit.agents.voice.turn import TurnDetectionEvent, _StreamingTurnDetectorStream

from services.agent.ear import Ear
from services.agent.turn_end import Judge, TurnEnd, TurnEndStream
from services.agent.utterance import Heard

_WINDOW = 512
_FAR_S = 60.0


class Pace:
    """Knows whether everything that was said so far has been taken in."""

    def __init__(self) -> None:
        self.detectors: list[Watched] = []
        self.predictions: list[asyncio.Future[TurnDetectionEvent]] = []
        self.asked = 0

    async def caught_up(self, samples: int) -> None:
        """Return when ``samples`` have been heard, judged and written down."""
        windows = samples // _WINDOW
        # A dozen things are waited for, none of which tells anybody.
        while not self._idle(windows):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        # What is told of it goes through a few queues.
        for _ in range(20):
            await asyncio.sleep(0)

    def _idle(self, windows: int) -> bool:
        return (
            all(detector.windows >= windows for detector in self.detectors)
            and all(prediction.done() for prediction in self.predictions)
            and not self.asked
        )


class Watched(vad.VAD):
    """A voice detector whose windows are counted."""

    def __init__(self, inner: vad.VAD, pace: Pace) -> None:
        super().__init__(capabilities=inner.capabilities)
        self._inner = inner
        self.windows = 0
        pace.detectors.append(self)

    @property
    def min_silence_duration(self) -> float | None:
        value: float | None = getattr(self._inner, "min_silence_duration", None)
        return value

    def stream(self) -> vad.VADStream:
        return _WatchedStream(self, self._inner.stream())


class _WatchedStream(vad.VADStream):
    def __init__(self, watched: Watched, inner: vad.VADStream) -> None:
        super().__init__(watched)
        self._watched = watched
        self._inner = inner

    async def _main_task(self) -> None:
        feeding = asyncio.create_task(self._feed())
        try:
            async for event in self._inner:
                self._event_ch.send_nowait(event)
                if event.type == vad.VADEventType.INFERENCE_DONE:
                    self._watched.windows += 1
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await self._inner.aclose()

    async def _feed(self) -> None:
        async for frame in self._input_ch:
            if isinstance(frame, self._FlushSentinel):
                self._inner.flush()
            else:
                self._inner.push_frame(frame)
        self._inner.end_input()


class SteppedEar(Ear):
    """An ear whose work is waited for."""

    pace: Pace

    async def transcribe(self, pcm: bytes, priority: Any) -> Heard | None:
        # Partials come by the clock, which stands still here.
        if priority == "interim":
            return None
        self.pace.asked += 1
        try:
            return await super().transcribe(pcm, priority)
        finally:
            self.pace.asked -= 1


class SteppedEnd(TurnEnd):
    """A turn's end whose predictions are waited for."""

    def __init__(
        self, inner: inference.TurnDetector, judge: Judge, language: str, pace: Pace
    ) -> None:
        super().__init__(inner, judge, language)
        self._pace = pace

    def stream(
        self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> _StreamingTurnDetectorStream:
        return _SteppedStream(self, self.inner.stream(conn_options=conn_options), self._pace)


class _SteppedStream(TurnEndStream):
    def __init__(self, end: TurnEnd, inner: _StreamingTurnDetectorStream, pace: Pace) -> None:
        super().__init__(end, inner)
        self._pace = pace

    @property
    def prediction_timeout(self) -> float:
        return _FAR_S

    def predict(self) -> asyncio.Future[TurnDetectionEvent]:
        prediction = super().predict()
        self._pace.predictions[:] = [prediction]
        return prediction
