"""A whole talk in the framework, with real ears for pauses and fake services; no server, no room."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents import inference, utils
from livekit.agents.voice import io

from appliance.audio import read_audio
from appliance.personas import Persona
from appliance.settings import PROJECT_DIR, Settings
from appliance.store import Store, upgrade
from services.agent.apology import Apologies
from services.agent.mind import first_context
from services.agent.overlap import Manner
from services.agent.speaker import Speaker
from services.agent.speculation import Speculation
from services.agent.talk import Detectors, Talk
from services.agent.turns import TurnLog
from services.agent.utterance import RATE_HZ
from services.agent.voice import RATE_HZ as VOICE_HZ
from tests.agent_fakes import WAIT_S, FakeLlm, FakeStt, FakeTts, serving

CLIP = PROJECT_DIR / "tests" / "data" / "questions" / "italy.flac"
FRAME = RATE_HZ // 50


class Mouth(io.AudioInput):
    """Speaks a recording at its own pace, then stays silent."""

    def __init__(self) -> None:
        super().__init__(label="mouth")
        self.said = asyncio.Event()
        self._frames: utils.aio.Chan[rtc.AudioFrame] = utils.aio.Chan()

    async def __anext__(self) -> rtc.AudioFrame:
        return await self._frames.__anext__()

    async def speak(self, clip: Path = CLIP) -> None:
        """Say a recording, then be silent for three seconds."""
        spoken = read_audio(clip).resampled(RATE_HZ).to_s16le()
        noise = np.random.default_rng(0).normal(0, 8, RATE_HZ * 3).astype(np.int16).tobytes()
        self.said.clear()
        for start in range(0, len(spoken + noise) - FRAME * 2, FRAME * 2):
            piece = (spoken + noise)[start : start + FRAME * 2]
            self._frames.send_nowait(rtc.AudioFrame(piece, RATE_HZ, 1, FRAME))
            await asyncio.sleep(0.02)
            if start >= len(spoken):
                self.said.set()


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


class PacedLoudspeaker(io.AudioOutput):
    """Plays at the pace of sound, like a room; keeps what it played.

    A machine that is held up delays the sound, it does not skip any.

    Attributes:
        played: mono s16le at the voice's rate.
        up_to_s: it plays no further, in seconds of all that it plays.
    """

    def __init__(self) -> None:
        super().__init__(
            label="loudspeaker",
            capabilities=io.AudioOutputCapabilities(pause=True),
            sample_rate=VOICE_HZ,
        )
        self.played = bytearray()
        self.up_to_s = math.inf
        self._queue = bytearray()
        self._position = 0
        self._flushed = False
        self._playing: asyncio.Task[None] | None = None

    @property
    def heard_s(self) -> float:
        """How much was played, in seconds."""
        return len(self.played) / 2 / VOICE_HZ

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        self._queue += frame.data.tobytes()
        if self._playing is None:
            self._flushed, self._position = False, 0
            self._playing = asyncio.create_task(self._play())
            self.on_playback_started(created_at=time.time())

    def flush(self) -> None:
        super().flush()
        self._flushed = True

    def clear_buffer(self) -> None:
        if self._playing is not None:
            self._playing.cancel()
            self._end(interrupted=True)

    async def _play(self) -> None:
        step = VOICE_HZ // 50 * 2
        while self._queue or not self._flushed:
            await asyncio.sleep(0.02)
            if self.heard_s < self.up_to_s:
                piece = self._queue[:step]
                del self._queue[:step]
                self._position += len(piece)
                self.played += piece
        self._end(interrupted=False)

    def _end(self, *, interrupted: bool) -> None:
        self._playing = None
        self._queue.clear()
        position_s = self._position / 2 / VOICE_HZ
        self.on_playback_finished(playback_position=position_s, interrupted=interrupted)


class Stage:
    """Three services, a store and a started talk."""

    def __init__(
        self,
        tmp_path: Path,
        barge_in: Manner = "stop",
        loudspeaker: Loudspeaker | PacedLoudspeaker | None = None,
    ) -> None:
        self.settings = Settings(data_dir=tmp_path)
        self.settings.run_dir.mkdir()
        upgrade(self.settings.store_url)
        self.store = Store(self.settings.store_url)
        self.call = self.store.sessions.create(persona="tester", keep_transcript=True)
        self.persona = Persona(
            name="tester", instructions="Be brief.", endpointing="quick", barge_in=barge_in
        )
        self.stt, self.llm, self.tts = FakeStt(), FakeLlm("The capital ", "is ", "Rome."), FakeTts()
        self.stt.text = "What is the capital of Italy?"
        self.mouth, self.loudspeaker = Mouth(), loudspeaker or Loudspeaker()
        self.unheard: list[float] = []
        self.raised: list[str] = []
        self.told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def start(self, stack: AsyncExitStack) -> None:
        for program, path, handler in (
            ("stt", "/v1/audio/transcriptions", self.stt.handle),
            ("llm", "/v1/chat/completions", self.llm.handle),
            ("tts", "/v1/audio/speech", self.tts.handle),
        ):
            await stack.enter_async_context(
                serving(self.settings.socket(program), path, handler, self.raised)
            )
        self.turns = TurnLog(
            self.store, self.call.id, self._publish, Speculation("en", lambda: 0.0)
        )
        detectors = Detectors(
            ear=inference.VAD(min_silence_duration=0.25),
            session=inference.VAD(min_silence_duration=0.25),
        )
        self.talk = Talk.make(
            self.settings, self.persona, self.call.id, detectors, self.turns, self.unheard.append
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
            self.apologies.new_attempt, self.talk.overlap.judged,
        )  # fmt: skip
        await session.start(speaker, record=False)
        self.talk.started(clock=lambda: self.loudspeaker.heard_s)

    async def stop(self) -> None:
        await self.talk.session.aclose()
        await self.turns.aclose()
        await self.talk.aclose()
        self.store.close()

    async def _publish(self, text: str, topic: str) -> None:
        self.told.put_nowait((topic, text))


async def next_told(stage: Stage, topic: str) -> Any:
    """What the page is told next on a topic."""
    async with asyncio.timeout(WAIT_S):
        while (told := await stage.told.get())[0] != topic:
            pass
    return told[1]
