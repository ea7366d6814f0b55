"""A caller who goes on, coughs or hums while an answer is prepared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sized
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from services.agent.speculation import Speculation
from tests.agent_fakes import WAIT_S, until
from tests.agent_stage import Stage, next_told

pytestmark = pytest.mark.unit

# Longer than any test: the turn is not over while the caller is quiet.
_NEVER_OVER_S = 600.0


class Listened:
    """A stage whose caller is heard by hand."""

    def __init__(self, tmp_path: Path) -> None:
        self.stage = Stage(tmp_path)
        self.wait_s = 0.3
        self.finals = 0

    async def speak(self, until_true: Callable[[], object]) -> None:
        """The caller says something, and is quiet until it is so."""
        speaking = asyncio.create_task(self.stage.mouth.speak())
        try:
            await until(until_true)
        finally:
            speaking.cancel()


def reaches(items: Sized, number: int) -> bool:
    return len(items) >= number


@pytest.fixture
async def listened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Listened]:
    made = Listened(tmp_path)
    monkeypatch.setattr(
        "services.agent.talk.make_judge", lambda _delays: lambda _evidence: made.wait_s
    )
    async with AsyncExitStack() as stack:
        await made.stage.start(stack)

        def heard(event: object) -> None:
            made.finals += getattr(event, "is_final", False)

        made.stage.talk.session.on("user_input_transcribed", heard)
        yield made
        await made.stage.stop()


async def test_an_answer_ends_when_the_caller_goes_on(listened: Listened) -> None:
    stage = listened.stage
    listened.wait_s = _NEVER_OVER_S
    stage.llm.go.clear()
    asked = stage.llm.headers
    await listened.speak(
        lambda: listened.finals and [a for a in asked if a["X-Earshot-Priority"] == "preemptive"]
    )
    pauses = stage.stt.asked.count("speculative")
    await listened.speak(lambda: "preemptive" in stage.llm.gone)
    # The next pause would end it, too, but that is a whole sentence later.
    assert stage.stt.asked.count("speculative") == pauses


@pytest.mark.parametrize("why", ["words", "pressure"])
async def test_an_answer_in_vain_is_not_begun_before_the_turn_is_over(
    listened: Listened, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    stage = listened.stage
    if why == "words":
        stage.stt.text = "What is the capital of"
    else:
        monkeypatch.setattr(Speculation, "is_pressed", True)
    over: list[bool] = []

    async def written() -> None:
        over.append(stage.turns.is_open)

    monkeypatch.setattr(stage.turns, "written", written)
    await listened.speak(lambda: not stage.told.empty())
    await next_told(stage, "appliance.turn")
    assert over == [True]
    (turn,) = stage.store.turns.list(stage.call.id)
    assert turn.agent_text == "The capital is Rome."


async def test_a_cough_before_the_answer_sounds_loses_nothing(listened: Listened) -> None:
    stage = listened.stage
    stage.llm.go.clear()
    await listened.speak(lambda: stage.turns.is_open)
    stage.stt.text = ""
    asked = len(stage.llm.bodies)
    await listened.speak(lambda: len(stage.llm.bodies) > asked)
    stage.llm.go.set()
    await listened.speak(lambda: not stage.told.empty())
    await next_told(stage, "appliance.turn")
    (turn,) = stage.store.turns.list(stage.call.id)
    assert turn.user_text == "What is the capital of Italy?"
    assert (turn.agent_text, turn.interrupted) == ("The capital is Rome.", False)
    assert [m["role"] for m in stage.llm.bodies[-1]["messages"]] == ["system", "user"]
    assert stage.unheard == []


async def test_a_hum_in_an_unfinished_turn_is_not_told(listened: Listened) -> None:
    stage = listened.stage
    listened.wait_s = _NEVER_OVER_S
    await listened.speak(lambda: listened.finals)
    stage.stt.text = ""
    await listened.speak(lambda: not stage.talk.ear.settled.is_set())
    quiet = asyncio.create_task(stage.mouth.speak())
    await asyncio.wait_for(stage.talk.ear.settled.wait(), WAIT_S)
    quiet.cancel()
    assert stage.unheard == []


async def test_words_that_silence_an_answer_are_not_followed_by_it(listened: Listened) -> None:
    stage = listened.stage
    stage.llm.go.clear()
    await listened.speak(lambda: stage.turns.is_open)
    listened.wait_s = _NEVER_OVER_S
    finals = listened.finals
    stage.stt.text = "I mean the capital of"
    await listened.speak(lambda: listened.finals > finals)
    # A hum in the pause of the new sentence is no reason to answer the old one.
    stage.stt.text = ""
    await listened.speak(lambda: not stage.talk.ear.settled.is_set())
    asked = len([a for a in stage.llm.headers if a["X-Earshot-Priority"] == "live"])
    quiet = asyncio.create_task(stage.mouth.speak())
    await asyncio.wait_for(stage.talk.ear.settled.wait(), WAIT_S)
    await until(lambda: stage.talk.session.user_state != "speaking")
    quiet.cancel()
    assert len([a for a in stage.llm.headers if a["X-Earshot-Priority"] == "live"]) == asked
    assert stage.unheard == []


async def test_a_question_asked_before_the_line_broke_is_answered_on_return(
    listened: Listened,
) -> None:
    stage = listened.stage
    stage.llm.go.clear()
    await listened.speak(lambda: stage.turns.is_open)
    await stage.talk.session.interrupt()
    await until(lambda: stage.turns.is_silenced)
    stage.llm.go.set()
    stage.talk.callers_voice.returned()
    await listened.speak(lambda: not stage.told.empty())
    await next_told(stage, "appliance.turn")
    (turn,) = stage.store.turns.list(stage.call.id)
    assert (turn.agent_text, turn.interrupted) == ("The capital is Rome.", False)


async def test_what_is_typed_after_a_cough_is_answered(listened: Listened) -> None:
    stage, session = listened.stage, listened.stage.talk.session
    stage.stt.text = ""
    await listened.speak(lambda: stage.unheard)
    await until(lambda: session.user_state != "speaking")
    stage.llm.go.clear()
    session.generate_reply(user_input="What is the capital of Italy?")
    await until(lambda: stage.turns.is_open and stage.llm.bodies)
    # As the framework does with what is typed.
    async with session._claim_user_turn():
        await session.interrupt()
        session.generate_reply(user_input="And of France?")
    stage.llm.go.set()
    await next_told(stage, "appliance.turn")
    await next_told(stage, "appliance.turn")
    first, second = stage.store.turns.list(stage.call.id)
    assert (first.user_text, first.agent_text) == ("What is the capital of Italy?", "")
    assert (second.user_text, second.agent_text) == ("And of France?", "The capital is Rome.")
    assert stage.llm.bodies[-1]["messages"][-1]["content"].endswith("And of France?")


async def test_a_noise_that_does_not_end_is_told(listened: Listened) -> None:
    stage = listened.stage
    stage.llm.go.clear()
    await listened.speak(lambda: stage.turns.is_open)
    stage.stt.text = ""
    asked = stage.llm.bodies
    for times in (len(asked) + 1, len(asked) + 2):
        await listened.speak(partial(reaches, asked, times))
    await listened.speak(lambda: stage.unheard)
    assert not stage.turns.is_open
