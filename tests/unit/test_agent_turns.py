"""Turns as they are timed, written and told."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.agent.apology import ONE_MOMENT, TTS_FAILED, seconds
from services.agent.turns import STAGES, OpenTurn
from tests.agent_fakes import FakeHandle
from tests.agent_turns import TurnsTalk, told_words, turns_talk

pytestmark = pytest.mark.unit


@pytest.fixture
async def talk(tmp_path: Path) -> AsyncIterator[TurnsTalk]:
    with turns_talk(tmp_path) as made:
        yield made


async def test_a_spoken_turn_is_timed_written_and_told(talk: TurnsTalk) -> None:
    talk.log.heard_speech_end(time.monotonic())
    talk.log.heard_transcript()
    attempt = talk.log.begin_attempt("What is the capital of Italy?")
    reply = talk.reply()
    talk.item("user", "What is the capital of Italy?")
    attempt.token()
    talk.log.sent_to_voice()
    talk.sound()
    talk.item("assistant", "Rome.")
    reply.finish()
    await talk.log.aclose()
    (turn,) = talk.stored()
    assert (turn.user_text, turn.agent_text) == ("What is the capital of Italy?", "Rome.")
    assert not turn.interrupted
    times = [turn.ms[stage] for stage in STAGES]
    assert all(ms is not None and 0 <= ms < 1000 for ms in times)
    assert turn.ms["at_ear"] is None
    (told,) = talk.told
    assert told["turn"] == 0
    assert told["ms"] == turn.ms
    assert set(told["at"]) == {"speech_end", *STAGES}
    assert told["host"]


async def test_only_what_was_heard_of_an_interrupted_answer_is_kept(talk: TurnsTalk) -> None:
    reply = talk.reply()
    talk.item("user", "Tell me a story.")
    talk.item("assistant", "Once upon a", interrupted=True)
    reply.interrupted = True
    reply.finish()
    talk.item("user", "Stop.")
    await talk.log.aclose()
    first, second = talk.stored()
    assert (first.agent_text, first.interrupted) == ("Once upon a", True)
    assert (second.user_text, second.agent_text, second.interrupted) == ("Stop.", "", True)


async def test_an_answer_that_never_sounded_ends_its_turn(talk: TurnsTalk) -> None:
    reply = talk.reply()
    talk.item("user", "Hello?")
    reply.finish()
    assert not talk.log.is_open
    await talk.log.aclose()
    assert talk.stored()[0].agent_text == ""


async def test_a_reply_given_up_before_the_turn_ended_is_nobodys(talk: TurnsTalk) -> None:
    early = talk.reply()
    early.scheduled = False
    talk.item("user", "Hello there.")
    early.finish()
    assert talk.log.is_open
    await talk.log.aclose()


async def test_the_greeting_is_a_turn_that_the_model_is_not_shown(talk: TurnsTalk) -> None:
    handle = FakeHandle()
    talk.log.greet(handle)  # type: ignore[arg-type]
    message = talk.item("assistant", "Hello.")
    handle.finish()
    await talk.log.aclose()
    (turn,) = talk.stored()
    assert (turn.user_text, turn.agent_text) == (None, "Hello.")
    assert message.id in talk.log.hidden


async def test_a_typed_turn_has_no_times(talk: TurnsTalk) -> None:
    reply = talk.reply()
    talk.item("user", "typed")
    talk.log.begin_attempt("What is the capital of Italy?").token()
    talk.sound()
    reply.finish()
    await talk.log.aclose()
    assert set(talk.stored()[0].ms.values()) == {None}
    assert talk.told[0]["at"]["first_token"] is not None


async def test_a_request_made_for_the_next_turn_does_not_retime_this_one(talk: TurnsTalk) -> None:
    talk.log.heard_speech_end(time.monotonic())
    first = talk.log.begin_attempt("What is the capital of Italy?")
    first.token()
    talk.item("user", "One.")
    talk.sound()
    second = talk.log.begin_attempt("What is the capital of Italy?")
    second.token()
    talk.log.sent_to_voice()
    await talk.log.aclose()
    assert talk.told[0]["at"]["first_token"] == first.first_token
    assert talk.told[0]["at"]["first_clause"] is None


async def test_a_call_the_store_does_not_know_is_still_told(talk: TurnsTalk) -> None:
    talk.log._ledger._session_id = "unknown"
    reply = talk.reply()
    talk.item("user", "Hello.")
    reply.finish()
    await talk.log.aclose()
    assert [turn["user_text"] for turn in talk.told] == ["Hello."]


async def test_an_apology_is_no_first_sound_and_stands_for_the_answer(talk: TurnsTalk) -> None:
    reply, apology = talk.reply(), FakeHandle()
    talk.log.heard_speech_end(time.monotonic())
    talk.item("user", "Hello?")
    talk.log.apologised(apology, TTS_FAILED.words)  # type: ignore[arg-type]
    talk.session.current_speech = apology
    talk.sound()
    reply.finish()
    await talk.log.aclose()
    (turn,) = talk.stored()
    assert (turn.agent_text, turn.ms["first_sound"]) == (TTS_FAILED.words, None)


async def test_an_answer_after_an_apology_is_the_answer(talk: TurnsTalk) -> None:
    reply, apology = talk.reply(), FakeHandle()
    talk.item("user", "Hello?")
    talk.log.apologised(apology, "Sorry.")  # type: ignore[arg-type]
    talk.item("assistant", "Hello.")
    reply.finish()
    await talk.log.aclose()
    assert talk.stored()[0].agent_text == "Hello."


async def test_an_excuse_is_no_first_sound(talk: TurnsTalk) -> None:
    talk.log.heard_speech_end(time.monotonic())
    reply = talk.reply()
    talk.item("user", "Hello?")
    talk.log.begin_attempt("What is the capital of Italy?").stall()
    talk.sound()
    talk.log.answer_sounds()
    reply.finish()
    await talk.log.aclose()
    first_sound = talk.stored()[0].ms["first_sound"]
    assert first_sound is not None
    assert first_sound >= 1000 * seconds(ONE_MOMENT)


def test_stages_are_counted_from_the_last_voiced_sample() -> None:
    turn = OpenTurn(user_text="x", speech_end=10.0, transcript=10.25, first_sound=11.0)
    assert turn.ms() == {
        "transcript": 250, "end_of_turn": None, "first_token": None, "first_clause": None,
        "first_sound": 1000, "at_ear": None,
    }  # fmt: skip


async def test_a_typed_turn_takes_no_times_from_a_noise_before_it(talk: TurnsTalk) -> None:
    talk.log.heard_speech_end(time.monotonic() - 120)
    talk.log.heard_transcript()
    talk.log.forget_speech()
    reply = talk.reply()
    talk.item("user", "typed")
    talk.sound()
    reply.finish()
    await talk.log.aclose()
    assert set(talk.stored()[0].ms.values()) == {None}


async def test_a_noise_after_the_words_leaves_them_their_times(talk: TurnsTalk) -> None:
    spoken = time.monotonic() - 1
    talk.log.heard_speech_end(spoken)
    talk.log.heard_transcript()
    told_words(talk)
    talk.log.heard_speech_end(time.monotonic())
    talk.log.forget_speech()
    talk.item("user", "Hello.")
    await talk.log.aclose()
    assert talk.told[0]["at"]["speech_end"] == spoken
    assert talk.told[0]["at"]["transcript"] is not None


async def test_a_turn_that_was_answered_leaves_no_times_behind(talk: TurnsTalk) -> None:
    talk.log.heard_speech_end(time.monotonic())
    told_words(talk)
    talk.item("user", "Hello.")
    talk.log.heard_speech_end(time.monotonic())
    talk.log.forget_speech()
    talk.item("user", "typed")
    await talk.log.aclose()
    assert talk.told[1]["at"]["speech_end"] is None
