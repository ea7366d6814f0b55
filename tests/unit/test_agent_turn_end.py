"""When a pause ends a turn: sound and words together."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest
from livekit.agents import AgentSession, ConversationItemAddedEvent, UserInputTranscribedEvent, llm
from livekit.agents.voice.turn import (
    TurnDetectionEvent,
    _StreamingTurnDetector,
    _StreamingTurnDetectorStream,
)

from appliance.personas import ENDPOINTING
from services.agent.turn_end import Evidence, TurnEnd, make_judge
from tests.agent_fakes import WAIT_S, FakeSession

pytestmark = pytest.mark.unit

DONE, HALF = "What is the capital of France?", "What is the capital of?"


def waited(
    words: str, probability: float, patience: str = "balanced", language: str = "en"
) -> float:
    return make_judge(ENDPOINTING[patience])(Evidence(probability, 0.36, words, language))


def test_a_finished_sound_and_finished_words_wait_little_longer_than_the_shortest_pause() -> None:
    delays = ENDPOINTING["balanced"]
    # Not less: of half a word that is cut off in mid-question Whisper likes to make a whole one.
    part = (waited(DONE, 0.9) - delays.min_s) / (delays.max_s - delays.min_s)
    assert 0.15 <= part <= 0.25
    # A question mark is all that is known of other languages' grammar.
    assert waited("Wie hei\u00dft du?", 0.9, language="de") == delays.min_s


def test_finished_words_shorten_the_wait_that_the_sound_alone_would_make() -> None:
    longest = ENDPOINTING["balanced"].max_s
    assert waited(DONE, 0.3) < waited(DONE, 0.05) < 0.6 * longest


def test_words_that_break_off_wait_however_finished_they_sound() -> None:
    assert waited(HALF, 0.9) > ENDPOINTING["balanced"].max_s
    assert waited(HALF, 0.9) > waited(DONE, 0.05)
    assert waited(HALF, 0.05) >= ENDPOINTING["balanced"].max_s


@pytest.mark.parametrize("words", [DONE, HALF, "Uh"])
@pytest.mark.parametrize("probability", [0.02, 0.2, 0.9])
def test_patience_orders_the_waits(words: str, probability: float) -> None:
    quick, balanced, patient = (
        waited(words, probability, patience) for patience in ("quick", "balanced", "patient")
    )
    assert quick <= balanced <= patient


def test_a_statement_may_go_on_and_is_given_more_time_than_a_question() -> None:
    told = waited("Please tell me a long story.", 0.9)
    assert waited(DONE, 0.9) < told < waited("Please tell me a long", 0.9)


def test_another_language_is_never_hurried_by_its_words() -> None:
    shortest, longest = ENDPOINTING["balanced"]
    assert waited("Ich möchte gern mit.", 0.1, language="de") == longest
    assert waited("Wie spät ist es?", 0.1, language="de") == longest
    assert waited("Wie spät ist es?", 0.9, language="de") == shortest


class _Stream:
    """An audio detector's stream that answers what the test says."""

    model, provider, is_fallback, prediction_timeout = "m", "p", False, 1.0

    def __init__(self) -> None:
        self.answer: asyncio.Future[TurnDetectionEvent] = asyncio.get_running_loop().create_future()
        self.calls: list[str] = []

    async def unlikely_threshold(self, _language: Any) -> float | None:
        return 0.36

    async def backchannel_threshold(self, _language: Any) -> float | None:
        return None

    async def supports_language(self, _language: Any) -> bool:
        return True

    def predict(self) -> asyncio.Future[TurnDetectionEvent]:
        return self.answer

    def __getattr__(self, name: str) -> Any:
        return lambda *_args, **_options: self.calls.append(name)

    async def aclose(self) -> None:
        self.calls.append("aclose")


class _Detector:
    model, provider = "m", "p"

    def __init__(self) -> None:
        self.streams: list[_Stream] = []

    def stream(self, **_options: Any) -> _Stream:
        self.streams.append(_Stream())
        return self.streams[-1]


class _Session(FakeSession):
    def __init__(self) -> None:
        super().__init__()
        self.delays: list[float] = []

    def update_options(self, *, endpointing_opts: dict[str, float]) -> None:
        self.delays.append(endpointing_opts["max_delay"])


def made() -> tuple[TurnEnd, _Session, list[Evidence]]:
    seen: list[Evidence] = []

    def judge(evidence: Evidence) -> float:
        seen.append(evidence)
        return 0.7

    end, session = TurnEnd(cast(Any, _Detector()), judge, "en"), _Session()
    end.follow(cast(AgentSession[Any], session))
    return end, session, seen


def say(session: _Session, words: str, *, is_final: bool = True) -> None:
    session.emit(
        "user_input_transcribed", UserInputTranscribedEvent(transcript=words, is_final=is_final)
    )


def predicted(probability: float) -> TurnDetectionEvent:
    return TurnDetectionEvent(
        type="eot_prediction", last_speaking_time=time.time(), end_of_turn_probability=probability
    )


async def answered(end: TurnEnd, stream: _StreamingTurnDetectorStream) -> None:
    """The audio detector finds the end of the turn unlikely."""
    prediction = stream.predict()
    end.inner.streams[0].answer.set_result(predicted(0.2))  # type: ignore[attr-defined]
    assert await asyncio.wait_for(prediction, WAIT_S) == await end.inner.streams[0].answer  # type: ignore[attr-defined]


async def test_the_judged_wait_is_what_the_session_waits() -> None:
    end, session, seen = made()
    stream = end.stream()
    assert isinstance(end, _StreamingTurnDetector)
    assert isinstance(stream, _StreamingTurnDetectorStream)
    say(session, "What is")
    say(session, "the cap", is_final=False)
    say(session, "the capital?")
    await answered(end, stream)
    threshold = await stream.unlikely_threshold(None)
    assert threshold is not None
    assert threshold > 1
    assert session.delays == [0.7]
    assert seen == [Evidence(0.2, 0.36, "What is the capital?", "en")]


async def test_a_turn_begins_without_the_words_of_the_last() -> None:
    end, session, seen = made()
    stream = end.stream()
    say(session, "Hello.")
    said = llm.ChatMessage(role="user", content=["Hello."])
    session.emit("conversation_item_added", ConversationItemAddedEvent(item=said))
    say(session, "And then?")
    await answered(end, stream)
    await stream.unlikely_threshold(None)
    assert [evidence.words for evidence in seen] == ["And then?"]


async def test_without_a_prediction_nothing_is_judged() -> None:
    end, session, _seen = made()
    stream = end.stream()
    assert await stream.unlikely_threshold(None) == 0.36
    stream.predict()
    assert await stream.unlikely_threshold(None) == 0.36
    assert session.delays == []


async def test_when_the_audio_detector_is_late_the_words_decide() -> None:
    end, session, seen = made()
    stream = end.stream()
    inner = end.inner.streams[0]  # type: ignore[attr-defined]
    inner.prediction_timeout = 0.05
    say(session, "And so, my fellow Americans")
    prediction = stream.predict()
    # As the framework asks: with its own timeout, which is longer.
    event = await asyncio.wait_for(prediction, WAIT_S)
    assert event.end_of_turn_probability == 0.0
    assert await stream.unlikely_threshold(None) == pytest.approx(2.0)
    assert [(evidence.probability, evidence.words) for evidence in seen] == [
        (0.0, "And so, my fellow Americans")
    ]
    inner.answer.set_result(predicted(0.9))
    await asyncio.sleep(0)
    assert prediction.result() is event


@pytest.mark.parametrize("late", ["answer", "cancel", "error"])
async def test_a_prediction_that_is_given_up_is_not_touched_again(late: str) -> None:
    end, _session, _seen = made()
    stream = end.stream()
    inner, wrong = end.inner.streams[0], list[dict[str, Any]]()  # type: ignore[attr-defined]
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: wrong.append(context))
    prediction = stream.predict()
    prediction.cancel()
    if late == "answer":
        inner.answer.set_result(predicted(0.9))
    elif late == "cancel":
        inner.answer.cancel()
    else:
        inner.answer.set_exception(OSError("gone"))
        inner.answer.exception()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert prediction.cancelled()
    assert wrong == []


async def test_what_ends_the_inner_prediction_ends_ours() -> None:
    end, _session, _seen = made()
    stream = end.stream()
    prediction = stream.predict()
    end.inner.streams[0].answer.set_exception(OSError("gone"))  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="gone"):
        await asyncio.wait_for(prediction, WAIT_S)
    end.inner.streams[0].answer = asyncio.get_running_loop().create_future()  # type: ignore[attr-defined]
    prediction = stream.predict()
    end.inner.streams[0].answer.cancel()  # type: ignore[attr-defined]
    await asyncio.wait([prediction], timeout=WAIT_S)
    assert prediction.cancelled()


async def test_everything_else_reaches_the_audio_detector() -> None:
    end, _session, _seen = made()
    stream = end.stream()
    stream.flush("why")
    stream.cancel_inference(timed_out=True)
    stream.end_input()
    await stream.aclose()
    inner = end.inner.streams[0]  # type: ignore[attr-defined]
    assert inner.calls == ["flush", "cancel_inference", "end_input", "aclose"]
    assert (stream.model, stream.provider, stream.prediction_timeout) == ("m", "p", 1.0)
