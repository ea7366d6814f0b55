"""The end of a turn from sound and words together: how long a silence must last before the reply.

The audio detector hears the last second's melody; alone it calls many finished questions
unfinished. The words alone look finished at many a pause inside a sentence. What each says is
turned into one wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from livekit import rtc
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    AgentSession,
    APIConnectOptions,
    ConversationItemAddedEvent,
    LanguageCode,
    UserInputTranscribedEvent,
    inference,
    llm,
)
from livekit.agents.voice.turn import TurnDetectionEvent, _StreamingTurnDetectorStream

from appliance import logs
from appliance.personas import EndpointingDelays
from services.agent.words import Reading, read

log = logs.get(__name__)

# Above every probability: the framework then waits for what it takes for its longest delay,
# which is the one that was judged.
_NEVER = 2.0
# The framework ends a turn after the shortest pause when its own time for a prediction is over.
_PART_OF_TIMEOUT = 0.8


@dataclass(frozen=True)
class Evidence:
    """What is known of a pause.

    Attributes:
        probability: the audio detector's, that the turn is over.
        threshold: from which the detector itself would call it over.
        words: what the caller has said since the last reply.
        language: ISO 639 code.
    """

    probability: float
    threshold: float
    words: str
    language: str


Judge = Callable[[Evidence], float]
"""From what is known of a pause to the silence that ends the turn, in seconds."""

# How much of the way from the shortest to the longest pause is waited: rows are the words,
# columns how far the sound is below the detector's own threshold (over, near, far).
# A question does not end at once, even where both say so: of half a word before a pause Whisper
# makes a whole one, and "What is the lar..." reads "What is the Lord?".
_NEAR = 0.5
_PART: dict[Reading, tuple[float, float, float]] = {
    "asked": (0.2, 0.25, 0.45),
    "told": (0.55, 0.65, 1.0),
    "closed": (0.0, 0.5, 1.0),
    "unclear": (0.8, 0.9, 1.2),
    "open": (1.15, 1.2, 1.3),
}


def make_judge(delays: EndpointingDelays) -> Judge:
    """A persona's judge: its patience decides between which pauses the evidence chooses."""

    def judge(evidence: Evidence) -> float:
        over, near, far = _PART[read(evidence.words, evidence.language)]
        likely = evidence.probability / evidence.threshold
        part = over if likely >= 1 else near if likely >= _NEAR else far
        return delays.min_s + part * (delays.max_s - delays.min_s)

    return judge


class TurnEnd:
    """A turn detector for one session whose pauses are as long as a judge says.

    Args:
        inner: the audio detector.
        judge: asked in every pause.
        language: of the caller, ISO 639.
    """

    def __init__(self, inner: inference.TurnDetector, judge: Judge, language: str) -> None:
        self.inner = inner
        self.judge = judge
        self.language = language
        self._said: list[str] = []
        self._session: AgentSession[Any] | None = None

    def follow(self, session: AgentSession[Any]) -> None:
        """Listen to what the caller says in this session, and set its delays."""
        self._session = session
        session.on("user_input_transcribed", self._on_words)
        session.on("conversation_item_added", self._on_item)

    @property
    def words(self) -> str:
        """What the caller has said since the last reply, as far as it is final."""
        return " ".join(self._said)

    @property
    def model(self) -> str:
        """The audio detector's model."""
        return self.inner.model

    @property
    def provider(self) -> str:
        """The audio detector's maker."""
        return self.inner.provider

    def stream(
        self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> _StreamingTurnDetectorStream:
        """Listen to one microphone."""
        return TurnEndStream(self, self.inner.stream(conn_options=conn_options))

    def decide(self, probability: float, threshold: float) -> None:
        """Judge the pause and let the session wait accordingly."""
        evidence = Evidence(probability, threshold, self.words, self.language)
        wait_s = self.judge(evidence)
        log.debug("pause_judged", probability=round(probability, 3), wait_s=round(wait_s, 3))
        if self._session is not None:
            self._session.update_options(endpointing_opts={"max_delay": wait_s})

    def _on_words(self, event: UserInputTranscribedEvent) -> None:
        if event.is_final:
            self._said.append(event.transcript.strip())

    def _on_item(self, event: ConversationItemAddedEvent) -> None:
        if isinstance(event.item, llm.ChatMessage) and event.item.role == "user":
            self._said.clear()


class TurnEndStream:
    """The audio detector's stream; its verdict goes to the judge as the framework asks for it."""

    def __init__(self, end: TurnEnd, inner: _StreamingTurnDetectorStream) -> None:
        self._end = end
        self._inner = inner
        self._prediction: asyncio.Future[TurnDetectionEvent] | None = None

    @property
    def model(self) -> str:
        return self._inner.model

    @property
    def provider(self) -> str:
        return self._inner.provider

    @property
    def is_fallback(self) -> bool:
        return self._inner.is_fallback

    @property
    def prediction_timeout(self) -> float:
        return self._inner.prediction_timeout

    async def unlikely_threshold(self, language: LanguageCode | None) -> float | None:
        threshold = await self._inner.unlikely_threshold(language)
        prediction = self._prediction
        if threshold is None or prediction is None or not prediction.done():
            return threshold
        self._end.decide(prediction.result().end_of_turn_probability, threshold)
        return _NEVER

    async def backchannel_threshold(self, language: LanguageCode | None) -> float | None:
        return await self._inner.backchannel_threshold(language)

    async def supports_language(self, language: LanguageCode | None) -> bool:
        return await self._inner.supports_language(language)

    def predict(self) -> asyncio.Future[TurnDetectionEvent]:
        late_s = _PART_OF_TIMEOUT * self.prediction_timeout
        self._prediction = _in_time(self._inner.predict(), late_s)
        return self._prediction

    def cancel_inference(self, *, timed_out: bool = False) -> None:
        self._inner.cancel_inference(timed_out=timed_out)

    def flush(self, reason: str | None = None) -> None:
        self._inner.flush(reason)

    def push_audio(self, frame: rtc.AudioFrame) -> None:
        self._inner.push_audio(frame)

    def end_input(self) -> None:
        self._inner.end_input()

    async def aclose(self) -> None:
        await self._inner.aclose()


def _in_time(
    prediction: asyncio.Future[TurnDetectionEvent], late_s: float
) -> asyncio.Future[TurnDetectionEvent]:
    """The prediction, or after ``late_s`` one without evidence: the words then decide alone."""
    loop = asyncio.get_running_loop()
    own: asyncio.Future[TurnDetectionEvent] = loop.create_future()

    def give_up() -> None:
        log.info("prediction_late", after_s=late_s)
        own.set_result(
            TurnDetectionEvent(
                type="eot_prediction", last_speaking_time=time.time(), end_of_turn_probability=0.0
            )
        )

    def copy(_prediction: asyncio.Future[TurnDetectionEvent]) -> None:
        if own.done():
            return
        if prediction.cancelled():
            own.cancel()
        elif (error := prediction.exception()) is not None:
            own.set_exception(error)
        else:
            own.set_result(prediction.result())

    timer = loop.call_later(late_s, give_up)
    own.add_done_callback(lambda _own: timer.cancel())
    prediction.add_done_callback(copy)
    return own
