"""Turns as they are timed, written and told."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from livekit.agents import ConversationItemAddedEvent, UserInputTranscribedEvent, llm
from livekit.agents.voice import AgentStateChangedEvent

from appliance.store import Store, Turn, upgrade
from services.agent.apology import ONE_MOMENT, STT_FAILED, seconds
from services.agent.ledger import TOPIC
from services.agent.speculation import Speculation
from services.agent.turns import STAGES, OpenTurn, TurnLog
from tests.agent_fakes import FakeHandle, FakeSession

pytestmark = pytest.mark.unit


class Talk:
    """A turn log over a real store, and the events of a talk."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.call = store.sessions.create(persona="default", keep_transcript=True)
        self.told: list[dict[str, Any]] = []
        self.session = FakeSession()
        self.log = TurnLog(store, self.call.id, self._publish, Speculation("en", lambda: 0.0))
        self.log.follow(self.session)  # type: ignore[arg-type]

    async def _publish(self, text: str, topic: str) -> None:
        assert topic == TOPIC
        self.told.append(json.loads(text))

    def item(self, role: Any, text: str, *, interrupted: bool = False) -> llm.ChatMessage:
        message = llm.ChatMessage(role=role, content=[text], interrupted=interrupted)
        self.session.emit("conversation_item_added", ConversationItemAddedEvent(item=message))
        return message

    def sound(self) -> None:
        event = AgentStateChangedEvent(old_state="thinking", new_state="speaking")
        self.session.emit("agent_state_changed", event)

    def reply(self) -> FakeHandle:
        handle = FakeHandle()
        handle.add_done_callback(self.log._on_done)
        return handle

    def stored(self) -> list[Turn]:
        return self.store.turns.list(self.call.id)


@pytest.fixture
async def talk(tmp_path: Path) -> AsyncIterator[Talk]:
    url = f"sqlite:///{tmp_path / 'appliance.db'}"
    upgrade(url)
    store = Store(url)
    yield Talk(store)
    store.close()


async def test_a_spoken_turn_is_timed_written_and_told(talk: Talk) -> None:
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


async def test_only_what_was_heard_of_an_interrupted_answer_is_kept(talk: Talk) -> None:
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


async def test_an_answer_that_never_sounded_ends_its_turn(talk: Talk) -> None:
    reply = talk.reply()
    talk.item("user", "Hello?")
    reply.finish()
    assert not talk.log.is_open
    await talk.log.aclose()
    assert talk.stored()[0].agent_text == ""


async def test_an_answer_silenced_before_it_sounded_is_still_owed(talk: Talk) -> None:
    assert not talk.log.is_silenced, "nothing was asked"
    reply = talk.reply()
    talk.item("user", "What is the capital of Italy?")
    reply.interrupted = True
    reply.finish()
    assert (talk.log.is_silenced, talk.log.is_open) == (True, False)
    talk.log.answer_anew()
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
async def test_words_that_silence_an_answer_are_a_turn_of_their_own(talk: Talk, first: str) -> None:
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


async def test_an_answer_that_was_silenced_and_apologised_for_is_not_owed(talk: Talk) -> None:
    reply = talk.reply()
    talk.item("user", "What is the capital of Italy?")
    reply.interrupted = True
    reply.finish()
    talk.log.apologised(FakeHandle(), STT_FAILED.words)  # type: ignore[arg-type]
    assert not talk.log.is_silenced
    await talk.log.aclose()
    (turn,) = talk.stored()
    assert turn.agent_text == STT_FAILED.words


async def test_no_answer_that_is_held_waits_for_ever(talk: Talk) -> None:
    early = talk.log.begin_attempt("What is the capital of")
    talk.log.begin_attempt("What is the capital of the")
    waiting = asyncio.create_task(early.may_begin())
    talk.item("user", "What is the capital of the")
    await asyncio.wait_for(waiting, 30)
    await talk.log.aclose()


async def test_an_answer_that_is_probably_in_vain_waits_for_its_turns_end(talk: Talk) -> None:
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


async def test_four_answers_are_begun_early_in_a_turn(talk: Talk) -> None:
    asked = "What is the capital of Italy?"
    assert [talk.log.begin_attempt(asked).held for _ in range(6)] == [False] * 4 + [True] * 2
    talk.item("user", asked)
    talk.sound()
    assert not talk.log.begin_attempt("And of France?").held
    await talk.log.aclose()


async def test_an_answer_to_half_a_sentence_is_given_up_when_the_caller_goes_on(talk: Talk) -> None:
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


async def test_a_reply_given_up_before_the_turn_ended_is_nobodys(talk: Talk) -> None:
    early = talk.reply()
    early.scheduled = False
    talk.item("user", "Hello there.")
    early.finish()
    assert talk.log.is_open
    await talk.log.aclose()


async def test_the_greeting_is_a_turn_that_the_model_is_not_shown(talk: Talk) -> None:
    handle = FakeHandle()
    talk.log.greet(handle)  # type: ignore[arg-type]
    message = talk.item("assistant", "Hello.")
    handle.finish()
    await talk.log.aclose()
    (turn,) = talk.stored()
    assert (turn.user_text, turn.agent_text) == (None, "Hello.")
    assert message.id in talk.log.hidden


async def test_a_typed_turn_has_no_times(talk: Talk) -> None:
    reply = talk.reply()
    talk.item("user", "typed")
    talk.log.begin_attempt("What is the capital of Italy?").token()
    talk.sound()
    reply.finish()
    await talk.log.aclose()
    assert set(talk.stored()[0].ms.values()) == {None}
    assert talk.told[0]["at"]["first_token"] is not None


async def test_a_request_made_for_the_next_turn_does_not_retime_this_one(talk: Talk) -> None:
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


async def test_a_call_the_store_does_not_know_is_still_told(talk: Talk) -> None:
    talk.log._ledger._session_id = "unknown"
    reply = talk.reply()
    talk.item("user", "Hello.")
    reply.finish()
    await talk.log.aclose()
    assert [turn["user_text"] for turn in talk.told] == ["Hello."]


async def test_an_apology_is_no_first_sound_and_stands_for_the_answer(talk: Talk) -> None:
    reply, apology = talk.reply(), FakeHandle()
    talk.log.heard_speech_end(time.monotonic())
    talk.item("user", "Hello?")
    talk.log.apologised(apology, "Sorry.")  # type: ignore[arg-type]
    talk.session.current_speech = apology
    talk.sound()
    reply.finish()
    await talk.log.aclose()
    (turn,) = talk.stored()
    assert (turn.agent_text, turn.ms["first_sound"]) == ("Sorry.", None)


async def test_an_answer_after_an_apology_is_the_answer(talk: Talk) -> None:
    reply, apology = talk.reply(), FakeHandle()
    talk.item("user", "Hello?")
    talk.log.apologised(apology, "Sorry.")  # type: ignore[arg-type]
    talk.item("assistant", "Hello.")
    reply.finish()
    await talk.log.aclose()
    assert talk.stored()[0].agent_text == "Hello."


async def test_an_excuse_is_no_first_sound(talk: Talk) -> None:
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


async def test_an_answer_begun_early_is_counted_as_used_or_in_vain(talk: Talk) -> None:
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


async def test_an_answer_begun_early_is_needed_from_its_turns_end_on(talk: Talk) -> None:
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


def told_words(talk: Talk) -> None:
    event = UserInputTranscribedEvent(transcript="Hello.", is_final=True)
    talk.session.emit("user_input_transcribed", event)


async def test_a_typed_turn_takes_no_times_from_a_noise_before_it(talk: Talk) -> None:
    talk.log.heard_speech_end(time.monotonic() - 120)
    talk.log.heard_transcript()
    talk.log.forget_speech()
    reply = talk.reply()
    talk.item("user", "typed")
    talk.sound()
    reply.finish()
    await talk.log.aclose()
    assert set(talk.stored()[0].ms.values()) == {None}


async def test_a_noise_after_the_words_leaves_them_their_times(talk: Talk) -> None:
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


async def test_a_turn_that_was_answered_leaves_no_times_behind(talk: Talk) -> None:
    talk.log.heard_speech_end(time.monotonic())
    told_words(talk)
    talk.item("user", "Hello.")
    talk.log.heard_speech_end(time.monotonic())
    talk.log.forget_speech()
    talk.item("user", "typed")
    await talk.log.aclose()
    assert talk.told[1]["at"]["speech_end"] is None
