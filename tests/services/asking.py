"""Asking the ear, for its tests."""

from __future__ import annotations

import io
from typing import Any

import httpx
import numpy as np
import soundfile as sf

from tests.recordings import DATA
from tests.services.conftest import ServiceHandle

SPEECH = DATA / "speech"
JFK = (SPEECH / "jfk.flac").read_bytes()
SAID = "ask not what your country can do for you"
RATE_HZ = 16_000
TRANSCRIBE = "/v1/audio/transcriptions"
RUNNING = 'earshot_requests_running{service="stt"}'
_PATIENCE_S = 600.0


def ask(ear: ServiceHandle, sound: bytes, **fields: Any) -> httpx.Response:
    """Send a recording as a form; ``headers`` is taken out of the fields."""
    headers = fields.pop("headers", None)
    return ear.client.post(
        TRANSCRIBE,
        files={"file": ("a.wav", sound)},
        data=fields,
        headers=headers,
        timeout=_PATIENCE_S,
    )


def heard(ear: ServiceHandle, sound: bytes, **fields: Any) -> str:
    """The text of a recording that must be taken."""
    answer = ask(ear, sound, **fields)
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["text"]
    return text


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error in OpenAI's shape."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "code", "hint", "can_retry"}
    return answer.status_code, error["code"]


def jfk() -> tuple[Any, int]:
    """Eleven seconds of speech: samples and rate."""
    samples, rate_hz = sf.read(io.BytesIO(JFK), dtype="float32")
    return samples, rate_hz


def packed(samples: Any, rate_hz: int = RATE_HZ, kind: str = "WAV", **how: Any) -> bytes:
    """Samples as a file's bytes."""
    file = io.BytesIO()
    sf.write(file, samples, rate_hz, format=kind, **how)
    return file.getvalue()


def repeated(times: int) -> bytes:
    """The same eleven seconds over and over, as flac."""
    samples, rate_hz = jfk()
    return packed(np.tile(samples, times), rate_hz, "FLAC")


def words_of(text: str) -> str:
    """Lower case, without marks."""
    return " ".join(text.lower().replace(",", "").replace(".", "").split())
