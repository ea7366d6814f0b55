"""A caller who speaks over the agent, under each of a persona's manners."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from livekit.agents import LanguageCode, stt
from livekit.agents.voice import UserStateChangedEvent

from appliance.settings import PROJECT_DIR
from appliance.store import Turn
from services.agent.overlap import Manner, Overlap
from services.agent.playout import Playout
from services.agent.voice import RATE_HZ as VOICE_HZ
from tests.agent_fakes import WAIT_S, FakeHandle, FakeSession, until
from tests.agent_stage import PacedLoudspeaker, Stage, next_told

pytestmark = pytest.mark.unit

WAIT = PROJECT_DIR / "tests" / "data" / "questions" / "wait.flac"
FIRST = "The first sentence of this answer is here. "
SECOND = "The second sentence of it follows then. "
THIRD = "The third sentence is the last one."
# Each sentence takes this long.
SENTENCE_S = 1.2
# The agent gets no further until the caller begins, however late that is noticed.
BEGINS_S = 0.4
TONE = (8000 * np.sin(np.arange(int(VOICE_HZ * SENTENCE_S)) / 8)).astype(np.int16).tobytes()


class Scene:
    """An agent in the middle of its first sentence, and a caller who says something.

    The loudspeaker waits there until a test lets the sound go on.
    """

    def __init__(self, stage: Stage, loudspeaker: PacedLoudspeaker) -> None:
        self.stage = stage
        self.loudspeaker = loudspeaker
        self.session = stage.talk.session
        self.false_alarms: list[bool] = []
        self._begun = asyncio.Event()
        self.session.on("user_state_changed", self._on_user_state)
        self.session.on(
            "agent_false_interruption", lambda event: self.false_alarms.append(event.resumed)
        )

    def _on_user_state(self, event: UserStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self._begun.set()

    async def begin(self) -> None:
        self.loudspeaker.up_to_s = BEGINS_S
        self.session.generate_reply(user_input="Tell me everything.")
        await until(lambda: self.loudspeaker.heard_s >= 0.2)

    def go_on(self) -> None:
        """Let the agent speak to the end."""
        self.loudspeaker.up_to_s = math.inf

    async def caller_begins(self) -> None:
        """The session knows that the caller speaks."""
        await asyncio.wait_for(self._begun.wait(), WAIT_S)

    async def caller_is_judged(self) -> None:
        """The caller has said it all, and the ear knows what it was."""
        await asyncio.wait_for(self.stage.mouth.said.wait(), WAIT_S)
        ear = self.stage.talk.ear
        await until(lambda: self.session.user_state == "listening" and ear.settled.is_set())

    async def say(self, words: str, clip: Path = WAIT) -> asyncio.Task[None]:
        """The recording's voice; the ear takes it for ``words``."""
        self.stage.stt.text = words
        return asyncio.create_task(self.stage.mouth.speak(clip))

    async def turn_ends(self) -> Turn:
        """The agent's first answer is over and written."""
        await next_told(self.stage, "appliance.turn")
        return self.turns[0]

    @property
    def turns(self) -> list[Turn]:
        return self.stage.store.turns.list(self.stage.call.id)

    def asked_last(self) -> list[tuple[str, str]]:
        """What the model was shown at its last request: role and text."""
        return [
            (message["role"], message["content"])
            for message in self.stage.llm.bodies[-1]["messages"]
            if message["role"] != "system"
        ]


@asynccontextmanager
async def scene_of(tmp_path: Path, manner: Manner) -> AsyncIterator[Scene]:
    loudspeaker = PacedLoudspeaker()
    stage = Stage(tmp_path, manner, loudspeaker)
    stage.llm.words = (FIRST, SECOND, THIRD)
    stage.tts.sound = TONE
    async with AsyncExitStack() as stack:
        await stage.start(stack)
        scene = Scene(stage, loudspeaker)
        try:
            await scene.begin()
            yield scene
        finally:
            await stage.stop()


async def answered(scene: Scene, question: str) -> None:
    """The caller's words are answered after what was heard of the answer before."""
    first = scene.turns[0]
    await until(lambda: len(scene.stage.llm.bodies) >= 2)
    assert scene.asked_last() == [
        ("user", "Tell me everything."),
        *([("assistant", first.agent_text)] if first.agent_text else []),
        ("user", question),
    ]


async def test_stop_falls_silent_at_the_voice(tmp_path: Path) -> None:
    async with scene_of(tmp_path, "stop") as scene:
        await scene.say("Mm-hmm.")
        turn = await scene.turn_ends()
        assert turn.interrupted
        assert turn.agent_text is not None
        assert FIRST.startswith(turn.agent_text)


async def test_finish_speaks_the_sentence_to_its_end(tmp_path: Path) -> None:
    async with scene_of(tmp_path, "finish") as scene:
        await scene.say("Wait, please.")
        await scene.caller_begins()
        scene.go_on()
        turn = await scene.turn_ends()
        assert turn.interrupted
        assert turn.agent_text is not None
        assert (FIRST + SECOND).startswith(turn.agent_text)
        # A machine that is held up lets a word of the next one out, and that is kept, too.
        after = turn.agent_text.removeprefix(FIRST.strip())
        assert turn.agent_text.startswith(FIRST.strip())
        assert len(after.split()) <= 1
        await answered(scene, "Wait, please.")


async def test_finish_goes_on_after_a_noise(tmp_path: Path) -> None:
    async with scene_of(tmp_path, "finish") as scene:
        await scene.say("")
        await scene.caller_begins()
        scene.go_on()
        turn = await scene.turn_ends()
        assert not turn.interrupted
        assert turn.agent_text == FIRST + SECOND + THIRD
        assert scene.loudspeaker.heard_s >= 3 * SENTENCE_S
        assert len(scene.turns) == 1


@pytest.mark.parametrize("words", ["", "Mm-hmm.", "Yeah, okay."])
async def test_ignore_goes_on_through_sounds(tmp_path: Path, words: str) -> None:
    async with scene_of(tmp_path, "ignore") as scene:
        await scene.say(words)
        await scene.caller_begins()
        await scene.caller_is_judged()
        scene.go_on()
        turn = await scene.turn_ends()
        assert not turn.interrupted
        assert turn.agent_text == FIRST + SECOND + THIRD
        assert scene.loudspeaker.heard_s == pytest.approx(3 * SENTENCE_S, abs=0.1)
        assert len(scene.turns) == 1
        assert len(scene.stage.llm.bodies) == 1


async def test_ignore_stops_at_words(tmp_path: Path) -> None:
    async with scene_of(tmp_path, "ignore") as scene:
        await scene.say("Stop.")
        turn = await scene.turn_ends()
        assert turn.interrupted
        assert turn.agent_text is not None
        assert FIRST.startswith(turn.agent_text)
        await answered(scene, "Stop.")


@pytest.mark.parametrize("words", ["", "Mm-hmm."])
async def test_resume_goes_on_where_it_stopped(tmp_path: Path, words: str) -> None:
    async with scene_of(tmp_path, "resume") as scene:
        await scene.say(words)
        await until(lambda: scene.session.agent_state == "listening")
        await scene.caller_is_judged()
        scene.go_on()
        turn = await scene.turn_ends()
        # A recording with a pause in it is two noises.
        alarms = len(scene.false_alarms)
        assert scene.false_alarms == [True] * alarms
        assert alarms
        assert not turn.interrupted
        assert turn.agent_text == FIRST + SECOND + THIRD
        # Nothing is lost; a syllable may be said twice.
        assert 3 * SENTENCE_S <= scene.loudspeaker.heard_s <= 3 * SENTENCE_S + 0.2 * alarms
        assert len(scene.turns) == 1
        assert scene.stage.told.empty()


async def test_resume_stays_silent_for_words(tmp_path: Path) -> None:
    async with scene_of(tmp_path, "resume") as scene:
        await scene.say("Wait, please.")
        turn = await scene.turn_ends()
        assert turn.interrupted
        assert scene.false_alarms == []
        assert turn.agent_text is not None
        assert FIRST.startswith(turn.agent_text)
        await answered(scene, "Wait, please.")


class Resting(Playout):
    """An answer of which so much is still to be played."""

    rest: float | None = None

    @property
    def rest_s(self) -> float | None:
        return self.rest


async def heard(
    *looks: tuple[Any, ...],
    manner: Manner = "ignore",
    language: str = "en",
    rest_s: float | None = None,
    on_passed_over: Callable[[], None] = lambda: None,
) -> list[str]:
    """What an agent that judges words lets through of these transcripts: kind, text, confidence."""
    session = FakeSession()
    session.agent_state, session.current_speech = "speaking", FakeHandle()
    session.current_speech.is_done = True
    overlap = Overlap(cast(Any, session), manner, language, 0.25, on_passed_over=on_passed_over)
    playout = Resting(PacedLoudspeaker())
    playout.rest = rest_s
    overlap.start(playout)

    async def events() -> AsyncIterator[stt.SpeechEvent]:
        for kind, text, *sure in looks:
            said = stt.SpeechData(LanguageCode("en"), text, confidence=sure[0] if sure else 1.0)
            yield stt.SpeechEvent(type=kind, alternatives=[said])

    return [event.alternatives[0].text async for event in overlap.judged(events())]


INTERIM = stt.SpeechEventType.INTERIM_TRANSCRIPT
FINAL = stt.SpeechEventType.FINAL_TRANSCRIPT


async def test_the_beginning_of_a_sound_is_no_word_until_more_of_it_is() -> None:
    assert await heard((INTERIM, "A liner"), (INTERIM, "Uh-hum")) == []
    assert await heard((INTERIM, "A"), (INTERIM, "Hm"), (INTERIM, "A"), (FINAL, "Hm.")) == []
    assert await heard((INTERIM, "I have"), (INTERIM, "I have a")) == ["I have a"]
    assert await heard((INTERIM, "St"), (FINAL, "Stop.")) == ["Stop."]
    assert await heard((FINAL, "Stop.")) == ["Stop."]


async def test_what_one_look_alone_was_unsure_of_is_no_word() -> None:
    assert await heard((FINAL, "Um, for.", 0.4)) == []
    assert await heard((FINAL, "Stop.", 0.4)) == ["Stop."]
    assert await heard((INTERIM, "Much"), (FINAL, "Montreal.", 0.4)) == []
    assert await heard((INTERIM, "Who wrote"), (FINAL, "Who rode it?", 0.4)) == ["Who rode it?"]


async def test_yes_to_an_answer_that_is_all_but_over_is_an_answer() -> None:
    yes = (INTERIM, "Ye"), (FINAL, "Yes.")
    assert await heard(*yes, manner="resume", rest_s=0.4) == ["Yes."]
    assert await heard(*yes, manner="resume", rest_s=2.0) == []
    assert await heard(*yes, manner="resume", rest_s=None) == [], "more of it may be made"
    assert await heard((FINAL, "Mm-hmm."), manner="resume", rest_s=0.4) == []


async def test_a_script_without_spaces_is_heard_word_by_word() -> None:
    growing = (INTERIM, "\u7b49\u4e00"), (INTERIM, "\u7b49\u4e00\u4e0b\u554a")
    assert await heard(*growing, language="zh") == ["\u7b49\u4e00\u4e0b\u554a"]


async def test_it_is_told_when_all_of_a_speech_is_passed_over() -> None:
    told: list[str] = []
    await heard((INTERIM, "Mm"), (FINAL, "Mm-hmm."), on_passed_over=lambda: told.append("passed"))
    assert told == ["passed"]
    await heard((INTERIM, "St"), (FINAL, "Stop."), on_passed_over=lambda: told.append("never"))
    assert told == ["passed"]
