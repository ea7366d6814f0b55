"""``POST /v1/audio/speech``, as OpenAI's clients call it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from appliance.errors import ApplianceError, TooLarge
from appliance.serving import APIRouter, Request, primed, rank_of, stream, streamed
from appliance.serving.app import error_body
from appliance.settings import Settings
from services.tts.engine import PiperEngine
from services.tts.vocabulary import RATE_HZ, Speak, SpeechFormat

DEADLINE_S = 120.0

_MEDIA_TYPES: dict[str, str] = {
    "pcm": f"audio/pcm;rate={RATE_HZ};channels=1",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
}
_ANY_VOICE = ("", "default")


class _Voice(BaseModel):
    id: str = Field(max_length=200)


class SpeechRequest(BaseModel):
    """The body. ``model`` may be anything: the voice is the model."""

    model: str = Field("", max_length=200)
    input: str
    voice: str | _Voice = ""
    response_format: SpeechFormat = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4.0)
    stream_format: Literal["audio", "sse"] = "audio"
    encoding: Literal["binary", "base64"] = "binary"

    @property
    def voice_id(self) -> str:
        """The voice's id; empty for the selected one."""
        name = self.voice.id if isinstance(self.voice, _Voice) else self.voice
        return "" if name in _ANY_VOICE else name


def create_router(engine: PiperEngine, settings: Settings) -> APIRouter:
    """The voice's routes."""
    router = APIRouter()

    @router.post("/v1/audio/speech")
    async def speech(body: SpeechRequest, http: Request) -> Response:
        if len(body.input) > settings.tts.max_chars:
            raise TooLarge(
                "text_too_long", f"The text is longer than {settings.tts.max_chars} characters.",
                "Send it sentence by sentence.",
            )  # fmt: skip
        rank = rank_of(http)
        speak = Speak(body.input, body.voice_id, body.speed, body.response_format, rank)
        sound = stream(engine, speak, http=http, deadline_s=DEADLINE_S, rank=rank)
        if body.encoding == "base64":
            whole = b"".join([part async for part in sound])
            return JSONResponse(_in_json(whole, body.response_format))
        ready = await primed(sound)
        if body.stream_format == "sse":
            return streamed(_events(ready), "text/event-stream")
        return streamed(ready, _MEDIA_TYPES[body.response_format])

    return router


def _in_json(sound: bytes, kind: str) -> dict[str, Any]:
    encoded = base64.b64encode(sound).decode("ascii")
    return {"audio_base64": encoded, "format": kind, "rate_hz": RATE_HZ}


async def _events(sound: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for part in sound:
            audio = base64.b64encode(part).decode("ascii")
            yield _event({"type": "speech.audio.delta", "audio": audio})
    except ApplianceError as error:
        # The status is sent already; the reason is told as the language model's events tell it.
        yield _event(error_body(error))
        return
    yield _event({"type": "speech.audio.done"})


def _event(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()
