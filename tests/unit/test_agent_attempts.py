"""Answers that are begun early, held, given up, silenced and begun anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.agent.apology import ENDING_SOON, STT_FAILED
from tests.agent_fakes import FakeHandle
from tests.agent_turns import TurnsTalk, told_words, turns_talk

pytestmark = pytest.mark.unit


@pytest.fixture
async def talk(tmp_path: Path) -> AsyncIterator[TurnsTalk]:
    with turns_talk(tmp_path) as made:
        yield made


async def test_an_answer_silenced_before_it_sounded_is_still_owed(talk: TurnsTalk) -> None:
    assert not talk.log.is_silenced, "nothing was asked"
    reply = talk.reply()
    talk.item("user", "What is the capital of Italy?")
    reply.interrupted = True
    reply.finish()
    assert (talk.log.is_silenced, talk.log.is_open) == (True, False)
    assert talk.log.answer_anew()
    assert (talk.log.is_silenced, talk.log.is_open) == (False, True)
    talk.log.begin_attempt("What is the capital of Italy?").token()
    assert talk.log.rank.priority == "live"
    again = talk.reply()
    talk.sound()
    talk.item("assistant", "Rome.")
    again.finish()
    await talk.log.aclose()
    (turn,) = talk.stored()
    assert (turn.agent_text, turn.interrupted) == ("Rome.", False)


@pytest.mark.parametrize("first", ["voice", "words"])
async def test_words_that_silence_an_answer_are_a_turn_of_their_own(
    talk: TurnsTalk, first: str
) -> None:
    reply = talk.reply()
    talk.item("user", "What is the capital of Italy?")
    if first == "voice":
        reply.interrupted = True
        reply.finish()
    told_words(talk)
    # The framework asks before the answer has ended that the words silence.
    talk.log.begin_attempt("No, of France.").token()
    assert talk.log.rank.priority == "preemptive"
    if first == "words":
        reply.interrupted = True
        reply.finish()
    assert not talk.log.is_silenced
    talk.item("user", "No, of France.")
    await talk.log.aclose()
    silenced, second = talk.stored()
    assert (silenced.agent_text, silenced.interrupted) == ("", True)
    assert second.user_text == "No, of France."


async def test_an_answer_that_is_silenced_again_and_again_is_given_up(talk: TurnsTalk) -> None:
    reply = talk.reply()
    talk.item("user", "What is the capital of Italy?")
    again = []
    for _ in range(3):
        reply.interrupted = True
        reply.finish()
        again.append(talk.log.answer_anew())
        reply = talk.reply()
    assert again == [True, True, False]
    assert not talk.log.is_open
    await talk.log.aclose()
    assert talk.stored()[0].interrupted


async def test_a_recording_that_answers_nothing_leaves_the_answer_owed(talk: TurnsTalk) -> None:
    reply = talk.reply()
    talk.item("user", "What is the capital of Italy?")
    talk.log.apologised(FakeHandle(), ENDING_SOON.words)  # type: ignore[arg-type]
    reply.interrupted = True
    reply.finish()
    assert talk.log.is_silenced
    talk.log.apologised(FakeHandle(), ENDING_SOON.words)  # type: ignore[arg-type]
    assert talk.log.is_silenced
    await talk.log.aclose()
    assert talk.stored()[0].agent_text == ""


async def test_an_answer_that_was_silenced_and_apologised_for_is_not_owed(talk: TurnsTalk) -> None:
    reply = talk.reply()
    talk.item("user", "What is the capital of Italy?")
    reply.interrupted = True
    reply.finish()
    talk.log.apologised(FakeHandle(), STT_FAILED.words)  # type: ignore[arg-type]
    assert not talk.log.is_silenced
    await talk.log.aclose()
    (turn,) = talk.stored()
    assert turn.agent_text == STT_FAILED.words


async def test_no_answer_that_is_held_waits_for_ever(talk: TurnsTalk) -> None:
    early = talk.log.begin_attempt("What is the capital of")
    talk.log.begin_attempt("What is the capital of the")
    waiting = asyncio.create_task(early.may_begin())
    talk.item("user", "What is the capital of the")
    await asyncio.wait_for(waiting, 30)
    await talk.log.aclose()


async def test_an_answer_that_is_probably_in_vain_waits_for_its_turns_end(talk: TurnsTalk) -> None:
    held = talk.log.begin_attempt("What is the capital of")
    waiting = asyncio.create_task(held.may_begin())
    await asyncio.sleep(0)
    assert not waiting.done()
    talk.item("user", "What is the capital of")
    await asyncio.wait_for(waiting, 30)
    assert talk.log.rank.priority == "live"
    spent = talk.log.speculation
    assert (spent.begun["reply"], spent.left_out) == (0, 1)
    await talk.log.aclose()


async def test_four_answers_are_begun_early_in_a_turn(talk: TurnsTalk) -> None:
    asked = "What is the capital of Italy?"
    assert [talk.log.begin_attempt(asked).held for _ in range(6)] == [False] * 4 + [True] * 2
    talk.item("user", asked)
    talk.sound()
    assert not talk.log.begin_attempt("And of France?").held
    await talk.log.aclose()


async def test_an_answer_to_half_a_sentence_is_given_up_when_the_caller_goes_on(
    talk: TurnsTalk,
) -> None:
    assert not talk.log.give_up_attempt()
    over = list[str]()
    talk.log.on_turn_over = over.append
    talk.log.begin_attempt("What is the capital of Italy?").token()
    assert talk.log.give_up_attempt()
    assert not talk.log.give_up_attempt()
    talk.item("user", "What is the capital of Italy? And of France?")
    assert talk.log.speculation.used["reply"] == 0
    assert over == []
    assert not talk.log.give_up_attempt(), "it is the answer now"
    await talk.log.aclose()


async def test_an_answer_begun_early_is_counted_as_used_or_in_vain(talk: TurnsTalk) -> None:
    talk.log.begin_attempt("What is the capital of Italy?")
    talk.log.begin_attempt("What is the capital of Italy?")
    talk.item("user", "What is the capital of Italy?")
    reply = talk.reply()
    spent = talk.log.speculation
    assert (spent.begun["reply"], spent.used["reply"]) == (2, 1)
    talk.sound()
    reply.finish()
    # An answer that is begun after the turn's end is not early.
    talk.item("user", "And of France?")
    talk.log.begin_attempt("What is the capital of Italy?")
    talk.reply().finish()
    await talk.log.aclose()
    assert (spent.begun["reply"], spent.used["reply"]) == (2, 1)


async def test_an_answer_begun_early_is_needed_from_its_turns_end_on(talk: TurnsTalk) -> None:
    over = list[str]()
    talk.log.on_turn_over = over.append
    assert talk.log.rank.priority == "live", "the greeting is no answer"
    talk.log.begin_attempt("What is the capital of Italy?")
    given_up = talk.log.rank
    talk.log.begin_attempt("What is the capital of Italy?")
    kept = talk.log.rank
    assert given_up.priority == kept.priority == "preemptive"
    assert len({given_up.attempt, kept.attempt, ""}) == 3
    talk.item("user", "What is the capital of Italy?")
    assert over == [kept.attempt]
    assert talk.log.rank.priority == "live"
    talk.reply().finish()
    talk.item("user", "And of France?")
    talk.log.begin_attempt("What is the capital of Italy?")
    assert talk.log.rank.priority == "live", "its turn is over already"
    await talk.log.aclose()
    assert over == [kept.attempt]
