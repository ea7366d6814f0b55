"""What the caller hears instead of silence."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from livekit.agents import APIConnectionError, ErrorEvent, UserStateChangedEvent, llm, stt, tts

from services.agent.apology import LINES, TOPIC, Apologies, frames, load_sounds
from services.agent.voice import RATE_HZ
from tests.agent_fakes import FakeSession, until

pytestmark = pytest.mark.unit

ERRORS = {"stt": stt.STTError, "llm": llm.LLMError, "tts": tts.TTSError}


class Talk:
    """Apologies on a fake session."""

    def __init__(self) -> None:
        self.session = FakeSession()
        self.owes = True
        self.notices: list[dict[str, str]] = []
        self.apologies = Apologies(self.session, lambda: self.owes, self._publish)  # type: ignore[arg-type]

    async def _publish(self, text: str, topic: str) -> None:
        assert topic == TOPIC
        self.notices.append(json.loads(text))

    def fail(self, service: str, *, recoverable: bool = False) -> None:
        error = ERRORS[service](
            timestamp=time.time(), label="x", error=APIConnectionError(), recoverable=recoverable
        )
        self.session.emit("error", ErrorEvent(error=error, source=None))

    def caller_speaks(self) -> None:
        event = UserStateChangedEvent(old_state="listening", new_state="speaking")
        self.session.emit("user_state_changed", event)

    def turn_ends(self) -> None:
        class Added:
            item = llm.ChatMessage(role="user", content=["x"])

        self.session.emit("conversation_item_added", Added())


@pytest.mark.parametrize("service", ["stt", "llm", "tts"])
async def test_each_failing_service_is_said_and_told(service: str) -> None:
    talk = Talk()
    talk.fail(service)
    await until(lambda: talk.notices)
    assert len(talk.session.said) == 1
    assert talk.notices[0] == {"code": f"{service}_failed", "message": talk.session.said[0]}


async def test_a_deaf_ear_is_said_when_the_session_hears_the_pause() -> None:
    talk = Talk()
    talk.session.user_state = "speaking"
    talk.fail("stt")
    assert talk.session.said == [], "the session would cut it: the caller seems to speak"
    talk.session.user_state = "listening"
    event = UserStateChangedEvent(old_state="speaking", new_state="listening")
    talk.session.emit("user_state_changed", event)
    assert len(talk.session.said) == 1


async def test_an_error_that_is_tried_again_is_not_said() -> None:
    talk = Talk()
    talk.fail("llm", recoverable=True)
    assert talk.session.said == []


async def test_one_failure_is_said_once_a_turn() -> None:
    talk = Talk()
    talk.fail("llm")
    talk.fail("llm")
    talk.session.handles[0].finish()
    talk.fail("llm")
    assert len(talk.session.said) == 1
    talk.caller_speaks()
    talk.fail("llm")
    assert len(talk.session.said) == 2


async def test_two_failures_are_not_said_over_each_other() -> None:
    talk = Talk()
    talk.fail("llm")
    talk.fail("tts")
    assert len(talk.session.said) == 1


async def test_a_failure_while_the_caller_may_go_on_waits_for_the_turns_end() -> None:
    talk = Talk()
    talk.owes = False
    talk.fail("llm")
    assert talk.session.said == []
    talk.turn_ends()
    assert len(talk.session.said) == 1


async def test_a_failure_that_a_later_request_mended_is_not_said() -> None:
    talk = Talk()
    talk.owes = False
    talk.fail("llm")
    talk.apologies.new_attempt()
    talk.turn_ends()
    assert talk.session.said == []


async def test_not_caught_is_said_only_to_a_waiting_caller() -> None:
    talk = Talk()
    talk.session.agent_state = "speaking"
    talk.apologies.not_caught()
    assert talk.session.said == []
    talk.session.agent_state = "listening"
    talk.apologies.not_caught()
    assert len(talk.session.said) == 1


async def test_nothing_is_said_after_the_end() -> None:
    talk = Talk()
    talk.apologies.close()
    talk.fail("stt")
    assert talk.session.said == []


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.code)
async def test_every_line_is_recorded_at_the_voices_rate(line: Any) -> None:
    load_sounds()
    sound = [frame async for frame in frames(line)]
    assert {frame.sample_rate for frame in sound} == {RATE_HZ}
    assert 1 < sum(frame.duration for frame in sound) < 6


async def test_a_change_of_model_is_said_to_who_listens_and_shown_to_who_waits() -> None:
    talk = Talk()
    talk.session.user_state = "speaking"
    assert not talk.apologies.models_changing("A model is being changed.")
    talk.session.user_state, talk.session.agent_state = "listening", "speaking"
    assert talk.apologies.models_changing("A model is being changed.")
    await until(lambda: talk.notices)
    assert talk.session.said == []
    talk.session.agent_state = "listening"
    assert talk.apologies.models_changing("A model is being changed.")
    assert talk.session.said == ["One moment, please."]
    await until(lambda: len(talk.notices) == 3)
    assert talk.notices[0]["code"] == "models_changing"
