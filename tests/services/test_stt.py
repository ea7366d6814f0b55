"""The ear as a real program with its real model: what was said, in every format."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator
from typing import Any

import av
import httpx2
import numpy as np
import openai
import pytest
import soxr
from openai.types.audio import TranscriptionTextDoneEvent

from tests.recordings import error_rate, speech
from tests.services.asking import (
    JFK,
    RUNNING,
    SAID,
    SPEECH,
    TRANSCRIBE,
    ask,
    heard,
    jfk,
    packed,
    repeated,
    words_of,
)
from tests.services.conftest import ServiceFactory, ServiceHandle
from tests.waiting import until

pytestmark = pytest.mark.services

CANCELLED = 'earshot_requests_total{priority="live",result="cancelled",service="stt"}'


@pytest.fixture(scope="module")
def ear(service: ServiceFactory) -> ServiceHandle:
    return service("stt")


@pytest.fixture
def client(ear: ServiceHandle) -> Iterator[openai.OpenAI]:
    transport = httpx2.HTTPTransport(uds=str(ear.socket))
    with (
        httpx2.Client(transport=transport) as http,
        openai.OpenAI(
            base_url="http://stt/v1", api_key="-", max_retries=0, http_client=http
        ) as made,
    ):
        yield made


def webm() -> bytes:
    file = io.BytesIO()
    source: Any = av.open(io.BytesIO(JFK))
    with source, av.open(file, "w", format="webm") as out:
        stream: Any = out.add_stream("libopus", rate=48_000, layout="stereo")
        for frame in source.decode(audio=0):
            frame.pts = None
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def test_ready_names_its_model(ear: ServiceHandle) -> None:
    assert ear.client.get("/readyz").json() == {"ready": True, "state": "ready", "why": ""}
    assert [m["id"] for m in ear.client.get("/v1/models").json()["data"]] == ["whisper-base"]


def test_recorded_speech_is_heard(client: openai.OpenAI) -> None:
    clips = speech()
    assert len(clips) == 12
    texts = []
    for clip in clips:
        with (SPEECH / clip["file"]).open("rb") as file:
            answer = client.audio.transcriptions.create(file=file, model="whisper-1", language="en")
        texts.append(answer.text)
    assert error_rate([clip["text"] for clip in clips], texts) <= 0.12


def test_openais_client_gets_events_while_a_recording_is_heard(client: openai.OpenAI) -> None:
    with client.audio.transcriptions.create(
        file=("long.flac", repeated(4)), model="whisper-1", language="en", stream=True
    ) as stream:
        *deltas, done = stream
    assert len(deltas) > 1
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert "".join(str(getattr(event, "delta", "?")) for event in deltas) == done.text
    assert words_of(done.text).count(SAID) == 4


def test_what_is_wrong_with_a_streamed_recording_is_an_error_of_the_clients(
    client: openai.OpenAI,
) -> None:
    def refused(sound: bytes, **fields: Any) -> str | None:
        with pytest.raises(openai.BadRequestError) as caught:
            client.audio.transcriptions.create(
                file=("a.flac", sound), model="whisper-1", stream=True, **fields
            )
        return caught.value.code

    # Nothing was sent yet, so it still has a status.
    assert refused(b"no sound") == "audio_unreadable"
    assert refused(JFK, response_format="srt") == "stream_not_supported"


async def test_a_client_that_closes_a_stream_frees_the_worker(ear: ServiceHandle) -> None:
    form: Any = {"files": {"file": ("a.flac", repeated(20))}, "data": {"stream": "true"}}
    before = ear.metric(CANCELLED)
    async with (
        ear.async_client() as leaving,
        leaving.stream("POST", TRANSCRIBE, timeout=120, **form) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        await anext(answer.aiter_raw())
    await asyncio.to_thread(until, lambda: ear.metric(CANCELLED) == before + 1)
    await asyncio.to_thread(until, lambda: ear.metric(RUNNING) == 0)


def test_without_a_language_it_is_recognised(ear: ServiceHandle) -> None:
    body = ask(ear, JFK, response_format="verbose_json").json()
    assert body["language"] == "en"
    assert SAID in words_of(body["text"])


@pytest.mark.parametrize(
    ("rate_hz", "channels", "kind", "how"),
    [
        (16_000, 1, "WAV", {"subtype": "FLOAT"}),
        (8_000, 1, "WAV", {}),
        (96_000, 2, "WAV", {}),
        (44_100, 2, "MP3", {}),
        (48_000, 1, "OGG", {"subtype": "OPUS"}),
        (22_050, 2, "OGG", {}),
    ],
)
def test_any_rate_channels_and_format(
    ear: ServiceHandle, rate_hz: int, channels: int, kind: str, how: dict[str, str]
) -> None:
    samples, own_hz = jfk()
    other = soxr.resample(samples, own_hz, rate_hz)
    sound = packed(np.repeat(other[:, None], channels, axis=1), rate_hz, kind, **how)
    assert SAID in words_of(heard(ear, sound, language="en"))


def test_what_browsers_record(ear: ServiceHandle) -> None:
    assert SAID in words_of(heard(ear, webm(), language="en"))


def test_json_body(ear: ServiceHandle) -> None:
    audio = base64.b64encode(JFK).decode()
    for given in (audio, f"data:audio/flac;base64,{audio}"):
        answer = ear.client.post(TRANSCRIBE, json={"audio_base64": given, "language": "en"})
        assert SAID in words_of(answer.json()["text"])


def test_words_have_their_times(client: openai.OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        file=("jfk.flac", JFK),
        model="whisper-base",
        language="en",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert answer.duration == pytest.approx(11.0, abs=0.1)
    assert answer.words
    assert answer.segments
    assert words_of(" ".join(word.word for word in answer.words)) == words_of(answer.text)
    assert words_of(" ".join(s.text for s in answer.segments)) == words_of(answer.text)
    edges = [edge for word in answer.words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    # The voice begins at 0.3 s; "country" at the very end is over by 10.6 s.
    assert 0.2 < edges[0] < 0.6
    assert 9.8 < edges[-1] <= 11.0


@pytest.mark.parametrize("shape", ["text", "srt", "vtt"])
def test_other_formats(client: openai.OpenAI, shape: Any) -> None:
    answer = client.audio.transcriptions.create(
        file=("jfk.flac", JFK), model="whisper-1", language="en", response_format=shape
    )
    shown = str(answer)
    assert "fellow Americans" in shown
    assert shown.startswith(
        {"text": "And", "srt": "1\n00:00:00,", "vtt": "WEBVTT\n\n00:00:00."}[shape]
    )


def test_translation_answers_in_english(client: openai.OpenAI) -> None:
    answer = client.audio.translations.create(file=("jfk.flac", JFK), model="whisper-1")
    assert "your country" in answer.text


def test_prompt_and_temperature_are_taken(ear: ServiceHandle) -> None:
    spelled = heard(ear, JFK, language="en", prompt="My fellow Amerikans, my fellow Amerikans.")
    assert "Amerikans" in spelled
    sampled = heard(ear, JFK, language="en", temperature="0.4")
    assert "country" in sampled
