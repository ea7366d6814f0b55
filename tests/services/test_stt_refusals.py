"""The ear given what it cannot hear, or should not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.services.asking import (
    JFK,
    RATE_HZ,
    SAID,
    TRANSCRIBE,
    ask,
    heard,
    jfk,
    packed,
    refusal,
    words_of,
)
from tests.services.conftest import ServiceFactory, ServiceHandle

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def ear(service: ServiceFactory) -> ServiceHandle:
    return service("stt")


_NOISE = np.random.default_rng(7)
_TIME = np.arange(3 * RATE_HZ) / RATE_HZ
NO_SPEECH = {
    "silence": np.zeros(3 * RATE_HZ),
    "one second": np.zeros(RATE_HZ),
    "white noise": _NOISE.normal(0, 0.1, 3 * RATE_HZ),
    "loud noise": np.clip(_NOISE.normal(0, 2, 3 * RATE_HZ), -1, 1),
    "hum": 0.3 * np.sin(2 * np.pi * 50 * _TIME),
    "square wave": 0.5 * np.sign(np.sin(2 * np.pi * 440 * _TIME)),
    "clicks": (_NOISE.random(3 * RATE_HZ) > 0.9995) * 0.9,
    "offset": np.full(3 * RATE_HZ, 0.5),
    "not a number": np.full(3 * RATE_HZ, np.nan),
    "infinity": np.full(3 * RATE_HZ, np.inf),
    "ten milliseconds": np.full(160, 0.1),
    "one sample": np.ones(1),
    "no samples": np.zeros(0),
}


@pytest.mark.parametrize("name", NO_SPEECH)
def test_what_is_not_speech_gives_no_text(ear: ServiceHandle, name: str) -> None:
    sound = packed(NO_SPEECH[name].astype(np.float32), subtype="FLOAT")
    assert heard(ear, sound) == ""


def test_speech_among_what_is_no_number_is_still_heard(ear: ServiceHandle) -> None:
    samples, rate_hz = jfk()
    samples[::4000] = np.nan
    sound = packed(samples, rate_hz, subtype="FLOAT")
    assert SAID in words_of(heard(ear, sound, language="en"))


def test_no_speech_in_every_format(ear: ServiceHandle) -> None:
    sound = packed(np.zeros(RATE_HZ, np.float32))
    body = ask(ear, sound, response_format="verbose_json").json()
    assert (body["text"], body["segments"], body["duration"]) == ("", [], 1.0)
    assert ask(ear, sound, response_format="text").text == ""
    assert ask(ear, sound, response_format="srt").text == ""
    assert ask(ear, sound, response_format="vtt").text == "WEBVTT\n\n"


@pytest.mark.parametrize(
    ("sound", "code"),
    [
        (b"", "audio_empty"),
        (b"this is not sound", "audio_unreadable"),
        (bytes(5000), "audio_unreadable"),
        (b"fLaC" + bytes(5000), "audio_unreadable"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "audio_unreadable"),
    ],
)
def test_unreadable_files(ear: ServiceHandle, sound: bytes, code: str) -> None:
    assert refusal(ask(ear, sound)) == (400, code)


def test_a_file_that_breaks_off_is_heard_as_far_as_it_goes(ear: ServiceHandle) -> None:
    assert "fellow americans" in words_of(heard(ear, JFK[: len(JFK) // 2], language="en"))


def test_addresses_are_refused(ear: ServiceHandle) -> None:
    url = "http://example.com/a.wav"
    assert refusal(ear.client.post(TRANSCRIBE, json={"url": url})) == (403, "url_not_allowed")
    form = ear.client.post(TRANSCRIBE, data={"url": url}, files={"x": b""})
    assert refusal(form) == (403, "url_not_allowed")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"model": "gpt-4o-transcribe"}, 404, "model_not_found"),
        ({"response_format": "docx"}, 400, "format_unknown"),
        ({"language": "klingon!"}, 400, "language_not_supported"),
        ({"language": "xx"}, 400, "language_not_supported"),
        ({"temperature": "7"}, 400, "temperature_invalid"),
        ({"timestamp_granularities[]": "letter"}, 400, "granularity_unknown"),
    ],
)
def test_impossible_fields(
    ear: ServiceHandle, fields: dict[str, str], status: int, code: str
) -> None:
    assert refusal(ask(ear, JFK, **fields)) == (status, code)


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("application/json", b"{", "invalid_json"),
        ("application/json", b"[" * 100_000, "invalid_json"),
        ("application/json", b"[]", "invalid_json"),
        ("application/json", b"{}", "file_missing"),
        ("application/json", b'{"audio_base64": 5}', "file_missing"),
        ("application/json", b'{"audio_base64": "*"}', "audio_unreadable"),
        ("application/json", b'{"audio_base64": ""}', "audio_empty"),
        ("application/json", b"\xff\xfe{}", "invalid_json"),
        ("text/plain", b"hello", "wrong_content_type"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nhi\r\n--x--',
            "file_missing",
        ),
        ("multipart/form-data", b"hello", "invalid_request"),
    ],
)
def test_malformed_bodies(ear: ServiceHandle, kind: str, body: bytes, code: str) -> None:
    answer = ear.client.post(TRANSCRIBE, content=body, headers={"content-type": kind})
    assert refusal(answer) == (400, code)


def test_too_much_is_refused(ear: ServiceHandle) -> None:
    big = json.dumps({"audio_base64": "A" * (26 << 20)})
    answer = ear.client.post(TRANSCRIBE, content=big, headers={"content-type": "application/json"})
    assert refusal(answer) == (413, "body_too_large")
    # 5 h of silence in half a megabyte; the limit is 4 h.
    long = packed(np.zeros(5 * 3600 * 1000, np.int16), 1_000, "FLAC")
    assert len(long) < 2_000_000
    assert refusal(ask(ear, long)) == (413, "audio_too_long")
