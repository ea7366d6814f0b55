"""The spoken loop: what a microphone recorded goes through the ear, and comes back in the voice."""

from __future__ import annotations

import base64
import time
from typing import Any, Literal

import httpx
from pydantic import BaseModel

from appliance import logs
from appliance.errors import ApplianceError
from appliance.settings import PROJECT_DIR, Settings
from services.panel.speech.services import LOWEST, Service, Services, away

QUESTION = PROJECT_DIR / "appliance" / "proof" / "question.flac"
_PATIENCE_S = 60.0
_LONGEST_REPEATED = 300

log = logs.get(__name__)


class Step(BaseModel):
    """One part of the loop."""

    name: Literal["ear", "voice"]
    state: Literal["ok", "warn", "fail"]
    message: str
    hint: str
    ms: int
    """How long it took."""


class Loop(BaseModel):
    """What came of it. Neither the sound nor the words are kept."""

    heard: str
    said: str
    sound_base64: str
    """A wav to play; empty where the voice failed."""
    steps: list[Step]


class _Failed(Exception):
    """A part that did not do its work, in words for people."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def recorded_question() -> bytes:
    """A spoken question of our own, for a browser without a microphone."""
    return QUESTION.read_bytes()


async def speak_and_hear(settings: Settings, services: Services, sound: bytes, kind: str) -> Loop:
    """Let the ear hear this recording and the voice repeat the words.

    Args:
        settings: the box's.
        services: how to reach the ear and the voice.
        sound: a file that the ear can read.
        kind: its media type.
    """
    started = time.monotonic()
    steps: list[Step] = []
    try:
        heard = await _hear(settings, services, sound, kind)
    except _Failed as error:
        steps.append(_step("ear", "fail", error.message, error.hint, started))
        return Loop(heard="", said="", sound_base64="", steps=steps)
    if heard:
        steps.append(_step("ear", "ok", "The box understood words.", "", started))
        said = f"I heard: {heard[:_LONGEST_REPEATED]}"
    else:
        steps.append(
            _step(
                "ear", "warn", "The box listened and heard no words.",
                "Speak louder, nearer to the microphone, and right after the button.", started,
            )
        )  # fmt: skip
        said = "I heard no words."
    started = time.monotonic()
    try:
        spoken = await _speak(settings, services, said)
    except _Failed as error:
        steps.append(_step("voice", "fail", error.message, error.hint, started))
        spoken = b""
    else:
        steps.append(_step("voice", "ok", "The box answered in its voice.", "", started))
    sound_base64 = base64.b64encode(spoken).decode("ascii")
    return Loop(heard=heard, said=said, sound_base64=sound_base64, steps=steps)


async def _hear(settings: Settings, services: Services, sound: bytes, kind: str) -> str:
    model = settings.stt.model if settings.stt.url else "whisper-1"
    answer = await _ask(
        services, "stt", "/v1/audio/transcriptions",
        files={"file": ("spoken", sound, kind)}, data={"model": model, "response_format": "json"},
    )  # fmt: skip
    try:
        return str(answer.json()["text"]).strip()
    except (ValueError, KeyError, TypeError) as error:
        raise _Failed("The ear gave an answer that is none.", "Check stt.url.") from error


async def _speak(settings: Settings, services: Services, words: str) -> bytes:
    voice = settings.tts.voice if settings.tts.url else "default"
    model = settings.tts.model if settings.tts.url else ""
    body = {"model": model or voice, "voice": voice, "input": words, "response_format": "wav"}
    return (await _ask(services, "tts", "/v1/audio/speech", json=body)).content


async def _ask(services: Services, service: Service, path: str, **request: Any) -> httpx.Response:
    try:
        with services.place(service):
            answer = await services.client(service).post(
                path, headers=LOWEST, timeout=_PATIENCE_S, **request
            )
    except ApplianceError as error:
        raise _Failed(error.message, error.hint) from error
    except httpx.TimeoutException as error:
        raise _Failed(
            f"{away(service).message.split(' (')[0]} did not answer within {_PATIENCE_S:.0f} seconds.",
            "Calls go before this test; try again when none is open.",
        ) from error
    except httpx.HTTPError as error:
        log.info("loop_not_answered", service=service, error=type(error).__name__)
        raise _Failed(away(service).message, away(service).hint) from error
    if answer.is_success:
        return answer
    message, hint = _said(answer)
    raise _Failed(message, hint)


def _said(answer: httpx.Response) -> tuple[str, str]:
    try:
        error = answer.json()["error"]
        return str(error["message"])[:300], str(error.get("hint") or "")[:300]
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"The service refused with status {answer.status_code}.", "The page Home says more."


def _step(
    name: Literal["ear", "voice"], state: Literal["ok", "warn", "fail"], message: str, hint: str,
    started: float,
) -> Step:  # fmt: skip
    ms = round((time.monotonic() - started) * 1000)
    return Step(name=name, state=state, message=message, hint=hint, ms=ms)
