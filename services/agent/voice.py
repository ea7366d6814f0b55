"""Text to sound: the tts service as livekit-agents wants it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions, tts, utils

from services.agent.upstream import Upstream

# The rate of the service's raw pcm, the same as OpenAI's.
RATE_HZ = 24000
_SILENCE_S = 8.0
_NOTHING = b"\0\0" * (RATE_HZ // 10)


class Voice(tts.TTS[Literal["error"]]):
    """One persona's voice.

    Args:
        upstream: the tts service.
        voice: id of the voice.
        on_text: told of each piece of text as it is sent.
    """

    def __init__(self, upstream: Upstream, *, voice: str, on_text: Callable[[], None]) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False), sample_rate=RATE_HZ, num_channels=1
        )
        self.upstream = upstream
        self.voice = voice
        self.on_text = on_text

    @property
    def model(self) -> str:
        """Id of the voice."""
        return self.voice

    @property
    def provider(self) -> str:
        """Who speaks."""
        return "earshot-tts"

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """The sound of ``text``, as it is made."""
        return _Speech(self, text, conn_options)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.upstream.aclose()


class _Speech(tts.ChunkedStream):
    def __init__(self, voice: Voice, text: str, conn_options: APIConnectOptions) -> None:
        super().__init__(tts=voice, input_text=text, conn_options=conn_options)
        self._voice = voice

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=utils.shortuuid(),
            sample_rate=RATE_HZ,
            num_channels=1,
            mime_type="audio/pcm",
        )
        self._voice.on_text()
        wanted = {
            "model": self._voice.voice,
            "voice": self._voice.voice,
            "input": self.input_text,
            "response_format": "pcm",
        }
        heard = False
        async with self._voice.upstream.post(
            "/v1/audio/speech", priority="live", silence_s=_SILENCE_S, json=wanted
        ) as answer:
            async for chunk in answer.content.iter_any():
                heard = heard or bool(chunk)
                output_emitter.push(chunk)
        if not heard:
            # The framework takes a reply without a frame for a dead service.
            output_emitter.push(_NOTHING)
        output_emitter.flush()
