"""The stock agent: livekit-agents as its documentation shows it, with nothing tuned."""

from __future__ import annotations

import asyncio
import functools
import math
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    Agent,
    AgentServer,
    AgentSession,
    APIConnectOptions,
    JobContext,
    JobExecutorType,
    JobProcess,
    NotGivenOr,
    inference,
    llm,
    stt,
    tts,
    utils,
)
from livekit.agents.voice.room_io import AudioInputOptions, RoomOptions
from livekit.plugins import openai

from bench.stock.config import AGENT_NAME, Config

_WHISPER_HZ = 16_000
# LiveKit's own default refuses jobs by the load of the processors, which here is the measurement's.
_LOAD_OF_A_FULL_WORKER = 0.69


class Whisper(stt.STT[str]):
    """faster-whisper with its own way of decoding: a finished recording in, a text out."""

    def __init__(self, model: Any, language: str) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))
        self._whisper = model
        self._language = language

    async def _recognize_impl(
        self,
        buffer: utils.AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.SpeechEvent:
        del language, conn_options
        text = await asyncio.to_thread(self._transcribe, rtc.combine_audio_frames(buffer))
        found = stt.SpeechData(language=self._language, text=text)  # type: ignore[arg-type]
        return stt.SpeechEvent(stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[found])

    def _transcribe(self, frame: rtc.AudioFrame) -> str:
        samples = np.frombuffer(frame.data, np.int16).astype(np.float32) / 32768
        segments, _info = self._whisper.transcribe(samples, language=self._language)
        return " ".join(segment.text.strip() for segment in segments)


class Piper(tts.TTS[str]):
    """Piper: a sentence in, its sound out when all of it is made."""

    def __init__(self, voice: Any) -> None:
        rate_hz: int = voice.config.sample_rate
        capabilities = tts.TTSCapabilities(streaming=False)
        super().__init__(capabilities=capabilities, sample_rate=rate_hz, num_channels=1)
        self._voice = voice

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """The sound of a sentence."""
        return _Sentence(self, self._voice, text, conn_options)


class _Sentence(tts.ChunkedStream):
    def __init__(
        self, piper: Piper, voice: Any, text: str, conn_options: APIConnectOptions
    ) -> None:
        super().__init__(tts=piper, input_text=text, conn_options=conn_options)
        self._voice = voice

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=utils.shortuuid(), sample_rate=self._tts.sample_rate, num_channels=1,
            mime_type="audio/pcm",
        )  # fmt: skip
        chunks = await asyncio.to_thread(lambda: list(self._voice.synthesize(self._input_text)))
        for chunk in chunks:
            output_emitter.push(chunk.audio_int16_bytes)
        output_emitter.flush()


def load(config: Config, process: JobProcess) -> None:
    """Load the models of one call's process, before the call comes."""
    from faster_whisper import WhisperModel
    from piper import PiperVoice

    process.userdata["config"] = config
    process.userdata["vad"] = inference.VAD()
    process.userdata["whisper"] = WhisperModel(
        config.whisper, device=config.device, compute_type=config.compute_type
    )
    process.userdata["voice"] = PiperVoice.load(config.voice)


async def hold_call(ctx: JobContext) -> None:
    """One call."""
    config: Config = ctx.proc.userdata["config"]
    persona, vad = config.persona, ctx.proc.userdata["vad"]
    context = llm.ChatContext.empty()
    for example in persona.examples:
        context.add_message(role="user", content=example.user)
        context.add_message(role="assistant", content=example.assistant)
    session: AgentSession[None] = AgentSession(
        stt=stt.StreamAdapter(stt=Whisper(ctx.proc.userdata["whisper"], persona.language), vad=vad),
        llm=openai.LLM(
            model="default", base_url=config.llm_url, api_key="local",
            temperature=persona.sampling.temperature, top_p=persona.sampling.top_p,
            extra_body={"max_tokens": persona.sampling.max_tokens},
        ),
        tts=tts.StreamAdapter(tts=Piper(ctx.proc.userdata["voice"])),
        vad=vad,
        # LiveKit's defaults, but for what would be done in its maker's cloud.
        turn_handling={
            "turn_detection": inference.TurnDetector(version="v1-mini"),
            "interruption": {"mode": "vad"},
        },
    )  # fmt: skip
    agent = Agent(instructions=persona.instructions, chat_ctx=context)
    # Turn detector and Whisper both listen at 16 kHz; the framework's default is another.
    listening = AudioInputOptions(sample_rate=_WHISPER_HZ)
    await session.start(
        agent, room=ctx.room, record=False, room_options=RoomOptions(audio_input=listening)
    )
    if persona.greeting:
        session.say(persona.greeting, add_to_chat_ctx=False)


def make_server(config: Config) -> AgentServer:
    """The worker, with a warm process for every room."""
    server = AgentServer(
        ws_url=config.livekit_url,
        api_key=config.api_key,
        api_secret=config.api_secret,
        job_executor_type=JobExecutorType.PROCESS,
        num_idle_processes=config.rooms,
        initialize_process_timeout=120,
        load_fnc=lambda server: _LOAD_OF_A_FULL_WORKER * len(server.active_jobs) / config.rooms,
        # With a limit of its own it refuses some of several callers who come at once, and decides
        # when idle processes are replaced, which is `tend`'s here.
        load_threshold=math.inf,
        drain_timeout=1,
        http_proxy=None,
        host="127.0.0.1",
        port=config.health_port,
        setup_fnc=functools.partial(load, config),
    )
    server.rtc_session(hold_call, agent_name=AGENT_NAME)
    return server
