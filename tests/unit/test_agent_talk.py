"""A question's way through a whole talk, and what happens when a part of it fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services.agent.apology import TTS_FAILED
from tests.agent_fakes import WAIT_S, until
from tests.agent_stage import Stage, next_told

pytestmark = pytest.mark.unit


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    async with AsyncExitStack() as stack:
        await made.start(stack)
        yield made
        await made.stop()


async def test_a_question_is_heard_answered_and_written(stage: Stage) -> None:
    speaking = asyncio.create_task(stage.mouth.speak())
    await next_told(stage, "appliance.turn")
    speaking.cancel()
    (turn,) = stage.store.turns.list(stage.call.id)
    assert turn.user_text == "What is the capital of Italy?"
    assert turn.agent_text == "The capital is Rome."
    ms = {stage_: value for stage_, value in turn.ms.items() if stage_ != "at_ear"}
    assert all(value is not None for value in ms.values()), ms
    assert stage.stt.asked.count("live") <= 1
    assert stage.tts.texts == ["The capital is Rome."]
    assert stage.loudspeaker.heard_s > 0


async def test_an_answer_begun_early_is_live_when_its_turn_is_over(stage: Stage) -> None:
    speaking = asyncio.create_task(stage.mouth.speak())
    await next_told(stage, "appliance.turn")
    speaking.cancel()
    used = stage.llm.headers[-1]
    assert used["X-Earshot-Priority"] == "preemptive"
    # Both services that work on it are told.
    await until(lambda: len(stage.raised) == 2)
    assert stage.raised == [used["X-Earshot-Attempt"]] * 2
    stage.talk.session.generate_reply(user_input="And of France?")
    await next_told(stage, "appliance.turn")
    assert stage.tts.headers[-1]["X-Earshot-Priority"] == "live"


async def test_the_voice_speaks_as_urgently_as_its_answer_is_needed(stage: Stage) -> None:
    stage.turns.begin_attempt("What is the capital of Italy?")
    rank = stage.turns.rank
    async with stage.talk.voice.synthesize("The capital is Rome.") as speech:
        assert [audio async for audio in speech]
    (early,) = stage.tts.headers
    assert rank.priority == early["X-Earshot-Priority"] == "preemptive"
    assert rank.attempt == early["X-Earshot-Attempt"] != ""


async def test_a_service_that_cannot_be_told_of_a_turns_end_costs_no_answer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.agent.raising._PATH", "/nowhere/{}")
    speaking = asyncio.create_task(stage.mouth.speak())
    await next_told(stage, "appliance.turn")
    speaking.cancel()
    (turn,) = stage.store.turns.list(stage.call.id)
    assert (turn.agent_text, stage.raised) == ("The capital is Rome.", [])


async def test_a_dead_voice_is_apologised_for(stage: Stage) -> None:
    stage.tts.status = 503
    speaking = asyncio.create_task(stage.mouth.speak())
    assert "tts_failed" in await next_told(stage, "appliance.notice")
    await until(lambda: stage.talk.session.agent_state == "listening")
    speaking.cancel()
    assert stage.loudspeaker.heard_s > 1
    await until(lambda: [t for t in stage.store.turns.list(stage.call.id) if t.finished_at])
    (turn,) = stage.store.turns.list(stage.call.id)
    assert turn.agent_text == TTS_FAILED.words
    assert turn.ms["first_sound"] is None


async def test_a_typed_question_is_answered(stage: Stage) -> None:
    stage.talk.session.generate_reply(user_input="What is the capital of Italy?")
    await next_told(stage, "appliance.turn")
    (turn,) = stage.store.turns.list(stage.call.id)
    assert turn.agent_text == "The capital is Rome."


@pytest.mark.parametrize("status", [200, 503])
async def test_a_typed_question_after_a_speech_without_words_has_no_times(
    stage: Stage, status: int
) -> None:
    stage.stt.text, stage.stt.status = "", status
    forgotten = asyncio.Event()
    stage.talk.session.on("error", lambda _error: forgotten.set())
    speaking = asyncio.create_task(stage.mouth.speak())
    await until(lambda: stage.unheard or forgotten.is_set())
    await asyncio.wait_for(stage.mouth.said.wait(), WAIT_S)
    await until(stage.talk.ear.settled.is_set)
    speaking.cancel()
    stage.talk.session.generate_reply(user_input="What is the capital of Italy?")
    await next_told(stage, "appliance.turn")
    (turn,) = stage.store.turns.list(stage.call.id)
    assert set(turn.ms.values()) == {None}


async def test_the_model_is_asked_when_the_store_has_the_turns_before(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_before: list[int] = []

    async def written() -> None:
        asked_before.append(len(stage.llm.bodies))

    monkeypatch.setattr(stage.turns, "written", written)
    stage.talk.session.generate_reply(user_input="What is the capital of Italy?")
    await next_told(stage, "appliance.turn")
    assert asked_before == [0]


async def test_a_text_without_a_sound_is_no_failure(stage: Stage) -> None:
    stage.tts.sound = b""
    stage.talk.session.generate_reply(user_input="Smile.")
    await next_told(stage, "appliance.turn")
    assert stage.told.empty()


async def test_a_slow_model_is_excused_and_its_answer_follows(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.agent.speaker._PATIENCE_S", 0.05)
    stage.llm.go.clear()
    stage.talk.session.generate_reply(user_input="What is the capital of Italy?")
    await until(lambda: stage.loudspeaker.heard_s > 1)
    stage.llm.go.set()
    at = json.loads(await next_told(stage, "appliance.turn"))["at"]
    assert at["first_sound"] > at["first_token"]
    (turn,) = stage.store.turns.list(stage.call.id)
    assert turn.agent_text == "The capital is Rome."
    assert stage.tts.texts == ["The capital is Rome."]
