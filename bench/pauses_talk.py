"""One caller's turn in a real session: real detectors and ear; mind and voice answer at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from livekit import rtc
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    Agent,
    AgentSession,
    APIConnectOptions,
    ConversationItemAddedEvent,
    NotGivenOr,
    TurnHandlingOptions,
    inference,
    llm,
    stt,
    tts,
    utils,
    vad,
)
from livekit.agents.voice import AgentStateChangedEvent, io

from appliance.personas import ENDPOINTING
from appliance.settings import Settings
from bench.pauses_sounds import RATE_HZ, Samples, Spoken
from bench.pauses_stepped import Pace, SteppedEar, SteppedEnd, Watched
from services.agent.ear import Ear
from services.agent.pauses import PatientDetector
from services.agent.turn_end import Evidence, Judge, TurnEnd
from services.agent.upstream import Upstream
from services.agent.utterance import NOTHING

FRAME = RATE_HZ // 50
PAUSE_S = 0.25
_VOICE_HZ = 24000
_LISTEN_S = 0.8
_NEVER_S = 600.0
Way = Literal["ours", "stock"]


@dataclass
class Seen:
    """What happened in one turn; moments are seconds from the first sample.

    Attributes:
        ends: when the session took the turn for ended.
        sounds: when the agent began to speak.
        judged: each pause as it was judged: moment and evidence.
    """

    ends: list[float] = field(default_factory=list)
    sounds: list[float] = field(default_factory=list)
    judged: list[dict[str, Any]] = field(default_factory=list)


async def hold(
    spoken: Spoken, way: Way, judge: Judge, make_upstream: Callable[[], Upstream]
) -> Seen:
    """Speak it at its own pace and note what the session does.

    Args:
        spoken: the turn.
        way: our ear and judge, or what the framework does with a batch transcript by itself.
        judge: ours.
        make_upstream: the stt service.
    """
    seen = Seen()
    mouth = _Mouth(spoken.samples, None)

    def noted(evidence: Evidence) -> float:
        wait_s = judge(evidence)
        seen.judged.append({"at": mouth.now(), "wait_s": wait_s, **vars(evidence)})
        return wait_s

    session_vad = inference.VAD(min_silence_duration=PAUSE_S)
    detector = inference.TurnDetector(version="v1-mini")
    ear = Ear(
        make_upstream(), inference.VAD(min_silence_duration=PAUSE_S), model="whisper-1",
        language="en", speculate_after_s=Settings().agent.speculate_after_s,
    )  # fmt: skip
    if way == "ours":
        session = our_session(ear, session_vad, TurnEnd(detector, noted, "en"))
    else:
        session = AgentSession(
            stt=_Batch(ear), vad=inference.VAD(), llm=_Mind(), tts=_Tone(),
            turn_handling=TurnHandlingOptions(
                turn_detection=detector, interruption={"mode": "vad"}
            ),
            aec_warmup_duration=None,
        )  # fmt: skip

    def on_item(event: ConversationItemAddedEvent) -> None:
        if isinstance(event.item, llm.ChatMessage) and event.item.role == "user":
            seen.ends.append(mouth.now())

    def on_state(event: AgentStateChangedEvent) -> None:
        if event.new_state == "speaking":
            seen.sounds.append(mouth.now())

    session.on("conversation_item_added", on_item)
    session.on("agent_state_changed", on_state)
    session.input.audio = mouth
    session.output.audio = _Loudspeaker()
    await session.start(Agent(instructions="x"), record=False)
    await mouth.speak()
    await session.aclose()
    await ear.aclose()
    return seen


async def listen(spoken: Spoken, make_upstream: Callable[[], Upstream]) -> Seen:
    """Speak it as slowly as need be to a session that never answers; what is known in each pause."""
    seen, pace = Seen(), Pace()
    mouth = _Mouth(spoken.samples[: int((spoken.end_s + _LISTEN_S) * RATE_HZ)], pace)

    def noted(evidence: Evidence) -> float:
        seen.judged.append({"at": mouth.now(), **vars(evidence)})
        return _NEVER_S

    ear = SteppedEar(
        make_upstream(), Watched(inference.VAD(min_silence_duration=PAUSE_S), pace),
        model="whisper-1", language="en", speculate_after_s=Settings().agent.speculate_after_s,
    )  # fmt: skip
    ear.pace = pace
    end = SteppedEnd(inference.TurnDetector(version="v1-mini"), noted, "en", pace)
    watched = Watched(inference.VAD(min_silence_duration=PAUSE_S), pace)
    session = our_session(ear, watched, end)
    session.input.audio = mouth
    session.output.audio = _Loudspeaker()
    await session.start(Agent(instructions="x"), record=False)
    await mouth.speak()
    await session.aclose()
    await ear.aclose()
    return seen


def our_session(ear: Ear, session_vad: vad.VAD, end: TurnEnd) -> AgentSession[None]:
    """A session that ends turns as a call's does; what is said over the agent is not its subject."""
    delays = ENDPOINTING["balanced"]
    session: AgentSession[None] = AgentSession(
        stt=ear,
        vad=PatientDetector(session_vad, ear.settled),
        llm=_Mind(),
        tts=_Tone(),
        turn_handling=TurnHandlingOptions(
            turn_detection=end,
            endpointing={"mode": "fixed", "min_delay": delays.min_s, "max_delay": delays.max_s},
            interruption={"mode": "vad"},
            # As in services/agent/talk.py.
            preemptive_generation={
                "enabled": True,
                "preemptive_tts": True,
                "max_retries": 4,
                "max_speech_duration": 60.0,
            },
        ),
        aec_warmup_duration=None,
    )
    end.follow(session)
    return session


class _Mouth(io.AudioInput):
    def __init__(self, samples: Samples, pace: Pace | None) -> None:
        super().__init__(label="mouth")
        self._samples = samples
        self._pace = pace
        self._spoken = 0
        self._frames: utils.aio.Chan[rtc.AudioFrame] = utils.aio.Chan()
        self._began = time.monotonic()

    def now(self) -> float:
        """Seconds since the first sample."""
        if self._pace:
            return self._spoken / RATE_HZ
        return round(time.monotonic() - self._began, 3)

    async def __anext__(self) -> rtc.AudioFrame:
        return await self._frames.__anext__()

    async def speak(self) -> None:
        self._began = time.monotonic()
        for start in range(0, len(self._samples) - FRAME + 1, FRAME):
            # A frame is there when its last sample has been spoken.
            late_s = self._began + (start + FRAME) / RATE_HZ - time.monotonic()
            if late_s > 0 and not self._pace:
                await asyncio.sleep(late_s)
            piece = self._samples[start : start + FRAME].tobytes()
            self._spoken = start + FRAME
            self._frames.send_nowait(rtc.AudioFrame(piece, RATE_HZ, 1, FRAME))
            if self._pace:
                await self._pace.caught_up(self._spoken)


class _Loudspeaker(io.AudioOutput):
    def __init__(self) -> None:
        super().__init__(
            label="loudspeaker", capabilities=io.AudioOutputCapabilities(pause=False),
            sample_rate=_VOICE_HZ,
        )  # fmt: skip
        self._segment_s = 0.0

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._segment_s:
            self.on_playback_started(created_at=time.time())
        self._segment_s += frame.duration

    def flush(self) -> None:
        super().flush()
        self._end(interrupted=False)

    def clear_buffer(self) -> None:
        self._end(interrupted=True)

    def _end(self, *, interrupted: bool) -> None:
        if self._segment_s:
            position, self._segment_s = self._segment_s, 0.0
            self.on_playback_finished(playback_position=position, interrupted=interrupted)


class _Batch(stt.STT[Any]):
    """The same ear without its streaming: the framework asks for whole utterances."""

    def __init__(self, ear: Ear) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))
        self._ear = ear

    async def _recognize_impl(
        self,
        buffer: utils.AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.SpeechEvent:
        sound = rtc.combine_audio_frames(buffer)
        if sound.sample_rate != RATE_HZ:
            resampler = rtc.AudioResampler(sound.sample_rate, RATE_HZ)
            sound = rtc.combine_audio_frames([*resampler.push(sound), *resampler.flush()])
        heard = await self._ear.transcribe(sound.data.tobytes(), "live")
        return self._ear.event(stt.SpeechEventType.FINAL_TRANSCRIPT, heard or NOTHING)


class _Mind(llm.LLM[Any]):
    def chat(self, *, chat_ctx: llm.ChatContext, **options: Any) -> llm.LLMStream:
        conn = options.get("conn_options", DEFAULT_API_CONNECT_OPTIONS)
        return _Answer(self, chat_ctx=chat_ctx, tools=[], conn_options=conn)


class _Answer(llm.LLMStream):
    async def _run(self) -> None:
        delta = llm.ChoiceDelta(role="assistant", content="Yes, of course.")
        self._event_ch.send_nowait(llm.ChatChunk(id="1", delta=delta))


class _Tone(tts.TTS[Any]):
    def __init__(self) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False), sample_rate=_VOICE_HZ, num_channels=1
        )

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        return _Beep(tts=self, input_text=text, conn_options=conn_options)


class _Beep(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id="1", sample_rate=_VOICE_HZ, num_channels=1, mime_type="audio/pcm"
        )
        output_emitter.push(b"\x00\x10\x00\xf0" * (_VOICE_HZ // 10))
        output_emitter.flush()
