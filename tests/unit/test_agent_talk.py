"""A whole talk in the framework, with real ears for pauses and fake services; no server, no room."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import inference, utils
from livekit.agents.voice import io

from appliance.audio import read_audio
from appliance.personas import Persona
from appliance.settings import PROJECT_DIR, Settings
from appliance.store import Store, upgrade
from services.agent.apology import TTS_FAILED, Apologies
from services.agent.mind import first_context
from services.agent.speaker import Speaker
from services.agent.talk import Detectors, Talk
from services.agent.turns import TurnLog
from services.agent.utterance import RATE_HZ
from services.agent.voice import RATE_HZ as VOICE_HZ
from tests.agent_fakes import FakeLlm, FakeStt, FakeTts, serving, until

pytestmark = pytest.mark.unit

CLIP = PROJECT_DIR / "tests" / "data" / "questions" / "italy.flac"
FRAME = RATE_HZ // 50


class Mouth(io.AudioInput):
    """Speaks a recording at its own pace, then stays silent."""

    def __init__(self) -> None:
        super().__init__(label="mouth")
        self._frames: utils.aio.Chan[rtc.AudioFrame] = utils.aio.Chan()

    async def __anext__(self) -> rtc.AudioFrame:
        return await self._frames.__anext__()

    async def speak(self) -> None:
        spoken = read_audio(CLIP).resampled(RATE_HZ).to_s16le()
        noise = np.random.default_rng(0).normal(0, 8, RATE_HZ * 3).astype(np.int16).tobytes()
        for start in range(0, len(spoken + noise) - FRAME * 2, FRAME * 2):
            piece = (spoken + noise)[start : start + FRAME * 2]
            self._frames.send_nowait(rtc.AudioFrame(piece, RATE_HZ, 1, FRAME))
            await asyncio.sleep(0.02)


class Loudspeaker(io.AudioOutput):
    """Plays in no time, and says so."""

    def __init__(self) -> None:
        super().__init__(
            label="loudspeaker",
            capabilities=io.AudioOutputCapabilities(pause=False),
            sample_rate=VOICE_HZ,
        )
        self.heard_s = 0.0
        self._segment_s = 0.0

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._segment_s:
            self.on_playback_started(created_at=0.0)
        self._segment_s += frame.duration
        self.heard_s += frame.duration

    def flush(self) -> None:
        super().flush()
        self._end(interrupted=False)

    def clear_buffer(self) -> None:
        self._end(interrupted=True)

    def _end(self, *, interrupted: bool) -> None:
        if self._segment_s:
            position, self._segment_s = self._segment_s, 0.0
            self.on_playback_finished(playback_position=position, interrupted=interrupted)


class Stage:
    """Three services, a store and a started talk."""

    def __init__(self, tmp_path: Path) -> None:
        self.settings = Settings(data_dir=tmp_path)
        self.settings.run_dir.mkdir()
        upgrade(self.settings.store_url)
        self.store = Store(self.settings.store_url)
        self.call = self.store.sessions.create(persona="tester", keep_transcript=True)
        self.persona = Persona(name="tester", instructions="Be brief.", endpointing="quick")
        self.stt, self.llm, self.tts = FakeStt(), FakeLlm("The capital ", "is ", "Rome."), FakeTts()
        self.stt.text = "What is the capital of Italy?"
        self.mouth, self.loudspeaker = Mouth(), Loudspeaker()
        self.told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def start(self, stack: AsyncExitStack) -> None:
        for program, path, handler in (
            ("stt", "/v1/audio/transcriptions", self.stt.handle),
            ("llm", "/v1/chat/completions", self.llm.handle),
            ("tts", "/v1/audio/speech", self.tts.handle),
        ):
            await stack.enter_async_context(serving(self.settings.socket(program), path, handler))
        self.turns = TurnLog(self.store, self.call.id, self._publish)
        detectors = Detectors(
            ear=inference.VAD(min_silence_duration=0.25),
            session=inference.VAD(min_silence_duration=0.25),
        )
        self.talk = Talk.make(
            self.settings, self.persona, self.call.id, detectors, self.turns, lambda _s: None
        )
        session = self.talk.session
        self.turns.follow(session)
        self.apologies = Apologies(
            session, lambda: self.turns.is_open, self._publish, self.turns.apologised
        )
        session.input.audio = self.mouth
        session.output.audio = self.loudspeaker
        speaker = Speaker(
            self.persona.instructions, first_context(self.persona, []), 4000, self.turns,
            self.apologies.new_attempt,
        )  # fmt: skip
        await session.start(speaker, record=False)

    async def stop(self) -> None:
        await self.talk.session.aclose()
        await self.turns.aclose()
        await self.talk.aclose()
        self.store.close()

    async def _publish(self, text: str, topic: str) -> None:
        self.told.put_nowait((topic, text))


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    async with AsyncExitStack() as stack:
        await made.start(stack)
        yield made
        await made.stop()


async def next_told(stage: Stage, topic: str) -> Any:
    async with asyncio.timeout(30):
        while (told := await stage.told.get())[0] != topic:
            pass
    return told[1]


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
