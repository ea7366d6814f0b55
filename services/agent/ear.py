"""Sound to text: the stt service as a streaming ear that guesses ahead in every pause."""

from __future__ import annotations

import asyncio
import io
import math
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
from livekit import rtc
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    APIConnectOptions,
    APIError,
    LanguageCode,
    NotGivenOr,
    stt,
    utils,
    vad,
)

from appliance import logs
from services.agent.rank import Priority, Rank
from services.agent.speculation import Speculation
from services.agent.upstream import SupersededWork, Upstream
from services.agent.utterance import NOTHING, RATE_HZ, Heard, Utterance

log = logs.get(__name__)

_LEAST_WAIT_S = 4.0


@dataclass
class EarEvents:
    """Who is told what the ear notices. Moments are seconds of CLOCK_MONOTONIC."""

    on_speech_end: Callable[[float], None] = field(default=lambda _moment: None)
    on_transcript: Callable[[], None] = field(default=lambda: None)
    on_unheard: Callable[[float], None] = field(default=lambda _voiced_s: None)
    on_partial: Callable[[str], None] = field(default=lambda _words: None)
    on_voice: Callable[[], None] = field(default=lambda: None)
    """The caller has begun to speak, or speaks on after a pause; no click is that long."""
    speculation: Speculation = field(default_factory=lambda: Speculation("en"))


class Ear(stt.STT[Literal["error"]]):
    """One call's ear.

    Args:
        upstream: the stt service.
        detector: a voice detector of its own, not the session's.
        model: id of the model.
        language: ISO 639 code.
        speculate_after_s: silence before a transcript is asked for ahead of time, in seconds.
        events: who is told of what.
    """

    def __init__(
        self,
        upstream: Upstream,
        detector: vad.VAD,
        *,
        model: str,
        language: str,
        speculate_after_s: float,
        events: EarEvents | None = None,
    ) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=True))
        self.upstream = upstream
        self.detector = detector
        self.language = LanguageCode(language)
        self.speculate_after_s = speculate_after_s
        self.events = events or EarEvents()
        # Asked at the begin of each speech: whether somebody waits for its first words.
        self.is_hurried: Callable[[], bool] = lambda: False
        self.settled = asyncio.Event()
        self.settled.set()
        self._model = model

    @property
    def model(self) -> str:
        """Id of the model."""
        return self._model

    @property
    def provider(self) -> str:
        """Who listens."""
        return "earshot-stt"

    async def transcribe(self, pcm: bytes, priority: Priority) -> Heard | None:
        """The words in 16 kHz mono s16le sound.

        Returns:
            None if the service gave the work up for somebody else's live request.

        Raises:
            APIError: the service is away, late or answers nonsense.
        """
        form = aiohttp.FormData()
        form.add_field("file", _wav(pcm), filename="speech.wav", content_type="audio/wav")
        form.add_field("model", self._model)
        form.add_field("language", str(self.language))
        form.add_field("response_format", "json")
        seconds = len(pcm) / 2 / RATE_HZ
        try:
            async with self.upstream.post(
                "/v1/audio/transcriptions",
                rank=Rank(priority),
                silence_s=_LEAST_WAIT_S + seconds / 4,
                data=form,
            ) as answer:
                told = await answer.json()
                # Ours tells how sure it is; another maker's may not.
                return Heard(str(told["text"]).strip(), math.exp(told.get("avg_logprob") or 0.0))
        except SupersededWork:
            return None
        except (AttributeError, KeyError, TypeError) as error:
            raise APIError("the stt service answered without a text") from error

    async def _recognize_impl(
        self,
        buffer: utils.AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.SpeechEvent:
        frame = rtc.combine_audio_frames(buffer)
        heard = await self.transcribe(frame.data.tobytes(), "live")
        return self.event(stt.SpeechEventType.FINAL_TRANSCRIPT, heard or NOTHING)

    def event(self, kind: stt.SpeechEventType, heard: Heard) -> stt.SpeechEvent:
        """A transcript as the framework takes it."""
        spoken = stt.SpeechData(
            language=self.language, text=heard.text, confidence=heard.confidence
        )
        return stt.SpeechEvent(type=kind, alternatives=[spoken])

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.RecognizeStream:
        """Listen to one microphone."""
        return _Listening(self, conn_options)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.upstream.aclose()


class _Listening(stt.RecognizeStream):
    """Turns the detector's windows into transcripts. Never ends because of an error."""

    def __init__(self, ear: Ear, conn_options: APIConnectOptions) -> None:
        super().__init__(stt=ear, conn_options=conn_options, sample_rate=RATE_HZ)
        self._ear = ear
        self._utterance: Utterance | None = None
        self._finals: set[asyncio.Task[None]] = set()
        self._last_final: asyncio.Task[None] | None = None

    async def _run(self) -> None:
        windows = self._ear.detector.stream()
        feeding = asyncio.create_task(self._feed(windows), name="listening.feed")
        try:
            async for event in windows:
                self._take(event)
        finally:
            feeding.cancel()
            if self._utterance is not None:
                self._utterance.drop()
            for task in self._finals:
                task.cancel()
            await asyncio.gather(feeding, *self._finals, return_exceptions=True)
            await windows.aclose()
            self._ear.settled.set()

    async def _feed(self, windows: vad.VADStream) -> None:
        async for frame in self._input_ch:
            if not isinstance(frame, self._FlushSentinel):
                windows.push_frame(frame)
        windows.end_input()

    def _take(self, event: vad.VADEvent) -> None:
        if event.type == vad.VADEventType.START_OF_SPEECH:
            self._ear.settled.clear()
            self._utterance = Utterance(self._ear, self._tell)
            self._utterance.add(event)
        elif self._utterance is None:
            return
        elif event.type == vad.VADEventType.INFERENCE_DONE:
            self._utterance.window(event)
            if self._utterance.is_full:
                # The caller has not stopped: a piece without words is no reason to say so.
                self._close(self._utterance, voiced_s=0.0)
                self._utterance = Utterance(self._ear, self._tell, goes_on=True)
        else:
            self._ear.events.on_speech_end(time.monotonic() - event.silence_duration)
            voiced_s = min(event.speech_duration, self._utterance.voiced_s)
            self._close(self._utterance, voiced_s)
            self._utterance = None

    def _close(self, utterance: Utterance, voiced_s: float) -> None:
        task = asyncio.create_task(
            self._finish(utterance, voiced_s, self._last_final), name="listening.final"
        )
        self._last_final = task
        self._finals.add(task)
        task.add_done_callback(self._finals.discard)

    async def _finish(
        self, utterance: Utterance, voiced_s: float, before: asyncio.Task[None] | None
    ) -> None:
        """Give out the final text, after the finals of earlier utterances."""
        try:
            heard = await utterance.heard()
            if before is not None:
                await asyncio.wait([before])
            if heard.text:
                self._tell(stt.SpeechEventType.FINAL_TRANSCRIPT, heard)
            else:
                log.info("no_words_heard", voiced_s=round(voiced_s, 2))
                self._ear.events.on_unheard(voiced_s)
        except APIError as error:
            log.warning("transcript_failed", error=type(error).__name__, why=str(error))
            # Raising would end the stream: half a second of deafness, and a lost detector state.
            self._ear.emit(
                "error",
                stt.STTError(
                    timestamp=time.time(), label=self._ear.label, error=error, recoverable=False
                ),
            )
        finally:
            if self._utterance is None and self._last_final is asyncio.current_task():
                self._ear.settled.set()

    def _tell(self, kind: stt.SpeechEventType, heard: Heard) -> None:
        if not self._event_ch.closed:
            self._event_ch.send_nowait(self._ear.event(kind, heard))


def _wav(pcm: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE_HZ)
        writer.writeframes(pcm)
    return file.getvalue()
