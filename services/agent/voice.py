"""Text to sound: the tts service as livekit-agents wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions, APIError, tts, utils

from appliance import logs
from services.agent.clauses import ClauseTokenizer
from services.agent.rank import LIVE, Rank
from services.agent.upstream import SupersededWork, Upstream

log = logs.get(__name__)

# The rate of the service's raw pcm, the same as OpenAI's.
RATE_HZ = 24000
_SILENCE_S = 8.0
_NOTHING = b"\0\0" * (RATE_HZ // 10)


class Voice(tts.TTS[Literal["error"]]):
    """One persona's voice.

    Args:
        upstream: the tts service.
        voice: id of the voice.
        model: of which the voice is one, where a server tells them apart; empty: the voice is one.
        on_text: told of each piece of text as it is sent.
        rank: how soon what is being said is needed.
        greeting: what is said first, if the service keeps what it has spoken; empty if it does not.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        voice: str,
        model: str = "",
        on_text: Callable[[], None],
        rank: Callable[[], Rank] = lambda: LIVE,
        greeting: str = "",
    ) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False), sample_rate=RATE_HZ, num_channels=1
        )
        self.upstream = upstream
        self.voice = voice
        self._model = model or voice
        self.on_text = on_text
        self.rank = rank
        self._greeting = greeting
        self._warming: asyncio.Task[None] | None = None

    @property
    def model(self) -> str:
        """Id of the voice, or of the model that it is one of."""
        return self._model

    @property
    def provider(self) -> str:
        """Who speaks."""
        return "earshot-tts"

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """The sound of ``text``, as it is made."""
        return _Speech(self, text, conn_options)

    def prewarm(self) -> None:
        """Have the greeting made while the room is still being joined."""
        if self._greeting and self._warming is None:
            self._warming = asyncio.create_task(self._warm(), name="voice.warm")

    async def aclose(self) -> None:
        """Close the connections."""
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        await self.upstream.aclose()

    async def _warm(self) -> None:
        # As it will be asked for: the service knows a sentence by its words.
        cut = ClauseTokenizer().stream()
        cut.push_text(self._greeting)
        cut.end_input()
        try:
            async for piece in cut:
                if text := piece.token.strip():
                    async with self.upstream.post(
                        "/v1/audio/speech", rank=Rank("speculative"), silence_s=_SILENCE_S,
                        json=self.wanted(text),
                    ) as answer:  # fmt: skip
                        async for _part in answer.content.iter_any():
                            pass
        except (SupersededWork, APIError) as error:
            # It is made when it is said; a voice that is away is told then.
            log.info("greeting_not_warmed", error=type(error).__name__)
        finally:
            await cut.aclose()

    def wanted(self, text: str) -> dict[str, str]:
        """The request for a text's sound."""
        return {"model": self._model, "voice": self.voice, "input": text, "response_format": "pcm"}


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
        heard = False
        async with self._voice.upstream.post(
            "/v1/audio/speech",
            rank=self._voice.rank(),
            silence_s=_SILENCE_S,
            json=self._voice.wanted(self.input_text),
        ) as answer:
            async for chunk in answer.content.iter_any():
                heard = heard or bool(chunk)
                output_emitter.push(chunk)
        if not heard:
            # The framework takes a reply without a frame for a dead service.
            output_emitter.push(_NOTHING)
        output_emitter.flush()
