"""The voice as its users meet it: a child process, a real voice, OpenAI's own client."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import httpx2
import numpy as np
import openai
import pytest

from appliance.audio import Pcm, decode_audio
from appliance.settings import PROJECT_DIR
from tests.onnx_models import voice
from tests.services.conftest import ServiceFactory, ServiceHandle
from tests.waiting import until

pytestmark = pytest.mark.services

PATH = "/v1/audio/speech"
RATE_HZ = 24_000
SAMPLE_BYTES = 2
RUNNING = 'earshot_requests_running{service="tts"}'
CANCELLED = 'earshot_requests_total{priority="live",result="cancelled",service="tts"}'
ONE_SENTENCE = (
    "I would be glad to help you with that, and if you tell me a little more about what you need, "
    "we can find the right answer together quite quickly."
)
LONG = " ".join(f"This is sentence number {number} of a long text." for number in range(40))


@pytest.fixture(scope="module")
def tts(service: ServiceFactory) -> ServiceHandle:
    return service("tts")


@pytest.fixture
def client(tts: ServiceHandle) -> Iterator[openai.OpenAI]:
    transport = httpx2.HTTPTransport(uds=str(tts.socket))
    with (
        httpx2.Client(transport=transport) as http,
        openai.OpenAI(base_url="http://tts/v1", api_key="-", http_client=http) as found,
    ):
        yield found


def loudness(pcm: Pcm) -> float:
    return float(np.sqrt(np.mean(np.square(pcm.samples))))


def speak(tts: ServiceHandle, text: str, **fields: object) -> httpx.Response:
    return tts.client.post(PATH, json={"input": text, "response_format": "pcm", **fields})


def test_openais_client_gets_speech(client: openai.OpenAI) -> None:
    answer = client.audio.speech.create(
        model="tts-1", voice="en_US-joe-medium", input="Hello there, friend.", response_format="pcm"
    )
    sound = Pcm.from_s16le(answer.content, RATE_HZ)
    assert 0.5 < sound.duration_s < 4
    assert loudness(sound) > 0.01


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "opus"])
def test_every_format_is_the_same_speech(tts: ServiceHandle, kind: str) -> None:
    answer = speak(tts, "One two three.", response_format=kind)
    assert answer.status_code == 200
    sound = decode_audio(answer.content)
    assert 0.4 < sound.duration_s < 3
    assert loudness(sound) > 0.01
    assert sound.rate_hz == (48_000 if kind == "opus" else RATE_HZ)


def test_what_openais_client_streams_makes_one_sound(client: openai.OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="default", input=ONE_SENTENCE, response_format="pcm"
    ) as answer:
        sound = Pcm.from_s16le(b"".join(answer.iter_bytes()), RATE_HZ)
    assert sound.duration_s > 6
    assert loudness(sound) > 0.01


def test_what_is_wrong_is_one_of_the_errors_of_openais_client(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.")
    assert unknown.value.code == "voice_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        client.audio.speech.create(model="tts-1", voice="default", input="Hello.", speed=9)
    assert wrong.value.code == "invalid_request"
    # Also where the sound would have been streamed.
    streaming = client.audio.speech.with_streaming_response
    with (
        pytest.raises(openai.APIStatusError) as long,
        streaming.create(model="tts-1", voice="default", input="a" * 4097),
    ):
        pass
    assert (long.value.status_code, long.value.code) == (413, "text_too_long")


def test_openais_client_that_closes_in_the_middle_leaves_an_idle_service(
    tts: ServiceHandle, client: openai.OpenAI
) -> None:
    before = tts.metric(CANCELLED)
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="default", input=LONG, response_format="pcm"
    ) as answer:
        next(answer.iter_bytes())
        assert tts.metric(RUNNING) == 1
    # It would also be idle at last after all of it was made.
    until(lambda: tts.metric(CANCELLED) == before + 1)
    until(lambda: tts.metric(RUNNING) == 0)


def test_a_sentence_that_comes_again_is_not_made_again(tts: ServiceHandle) -> None:
    text = "The bank of the river is lined with poplars."
    made, again, once_more = (speak(tts, text).content for _time in range(3))
    # The model draws a new sound each time: these were kept.
    assert again == once_more
    # Made in pieces and kept whole: the resampler may round at another place.
    assert abs(len(again) - len(made)) <= 2 * SAMPLE_BYTES
    assert speak(tts, text, speed=1.01).content != again


def test_a_voice_that_cannot_be_cut_speaks_whole_sentences(
    service: ServiceFactory, tmp_path: Path
) -> None:
    own = tmp_path / "own" / "hum"
    own.mkdir(parents=True)
    (own / "hum.onnx").write_bytes(voice(noise=False))
    embedded = PROJECT_DIR / ".cache/models/en_US-joe-medium/en_US-joe-medium.onnx.json"
    (own / "hum.onnx.json").write_bytes(embedded.read_bytes())
    tts = service("tts", env={"APPLIANCE_MODELS_DIR": str(own.parent)})
    answer = speak(tts, "Hello there, friend.", voice="hum")
    assert answer.status_code == 200
    assert loudness(Pcm.from_s16le(answer.content, RATE_HZ)) > 0.003
    logged = [json.loads(line) for line in tts.log.read_text().splitlines() if line[0] == "{"]
    (said,) = [line for line in logged if line["event"] == "voice_not_cut"]
    assert (said["voice"], said["level"], said["why"]) == ("hum", "warning", "no noise")


def test_sentences_are_sent_as_they_are_made(tts: ServiceHandle) -> None:
    parts: list[int] = []
    with tts.client.stream(
        "POST", PATH, json={"input": LONG[:400], "response_format": "pcm"}
    ) as answer:
        for part in answer.iter_raw():
            # The rest is still being made when the first sentence is here.
            parts.append(len(part))
            if len(parts) == 1:
                assert tts.metric(RUNNING) == 1
    assert len(parts) > 4


def test_speed(tts: ServiceHandle) -> None:
    slow = len(speak(tts, "The quick brown fox jumps.", speed=0.5).content)
    fast = len(speak(tts, "The quick brown fox jumps.", speed=2.0).content)
    assert 2.5 < slow / fast < 6


@pytest.mark.parametrize(
    "text", ["", " ", "…", "-", "😀", "🇫🇷 👍🏽", "?!", "\u200b\n\t", "\x00", "[[]]"]
)
def test_text_without_sound_is_a_short_silence(tts: ServiceHandle, text: str) -> None:
    answer = speak(tts, text)
    assert answer.status_code == 200
    assert answer.content == bytes(round(0.1 * RATE_HZ) * 2)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 4000, "50 % of €5 in Łódź.", "नमस्ते", "\ud83d half", "<speak>hi</speak>", "[[ hh",
        "1" * 600, "A\x00B", "e\u0301" * 500,
    ],
)  # fmt: skip
def test_odd_texts_are_answered(tts: ServiceHandle, text: str) -> None:
    body = json.dumps({"input": text, "response_format": "pcm", "speed": 4.0})
    answer = tts.client.post(PATH, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400)
    assert len(answer.content) > 0


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"voice": "alloy"}, 404, "voice_not_found"),
        ({"voice": "../../etc/passwd"}, 404, "voice_not_found"),
        ({"speed": 0.1}, 400, "invalid_request"),
        ({"speed": "NaN"}, 400, "invalid_request"),
        ({"response_format": "aiff"}, 400, "invalid_request"),
        ({"input": "a" * 4097}, 413, "text_too_long"),
        ({"input": "a" * 1_000_000}, 413, "body_too_large"),
        ({"input": None}, 400, "invalid_request"),
    ],
)
def test_wrong_requests(
    tts: ServiceHandle, fields: dict[str, object], status: int, code: str
) -> None:
    answer = tts.client.post(PATH, json={"input": "Hi.", **fields})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    if code == "voice_not_found":
        assert "en_US-joe-medium" in answer.json()["error"]["hint"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff" * 100, b'{"input":1}'])
def test_garbage(tts: ServiceHandle, body: bytes) -> None:
    answer = tts.client.post(PATH, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_base64_and_events(tts: ServiceHandle) -> None:
    whole = speak(tts, "Hello.", encoding="base64").json()
    assert (whole["format"], whole["rate_hz"]) == ("pcm", RATE_HZ)
    assert len(base64.b64decode(whole["audio_base64"])) > RATE_HZ // 2
    events = speak(tts, "Hello.", stream_format="sse").text.split("\n\n")
    kinds = [json.loads(event.removeprefix("data: "))["type"] for event in events if event]
    assert kinds[0] == "speech.audio.delta"
    assert kinds[-1] == "speech.audio.done"


async def test_a_client_that_leaves_frees_the_worker(tts: ServiceHandle) -> None:
    body = {"input": LONG, "response_format": "pcm"}
    async with tts.async_client() as leaving, leaving.stream("POST", PATH, json=body) as answer:
        await anext(answer.aiter_raw())
    waiting = asyncio.create_task(_whole(tts, LONG))
    await asyncio.to_thread(until, lambda: tts.metric(RUNNING) == 1)
    waiting.cancel()
    # Both would go on for as long as ten of these take.
    await asyncio.to_thread(speak, tts, "This is another sentence, and it is said to its end.")
    async with tts.async_client() as client, client.stream("POST", PATH, json=body) as answer:
        chunks = answer.aiter_raw()
        for _ in range(3):
            await anext(chunks)
        assert await asyncio.to_thread(tts.metric, RUNNING) == 1
    await asyncio.to_thread(until, lambda: tts.metric(RUNNING) == 0)


async def _whole(tts: ServiceHandle, text: str) -> None:
    async with tts.async_client() as client:
        await client.post(PATH, json={"input": text, "response_format": "flac"})


def test_what_is_served(tts: ServiceHandle) -> None:
    assert tts.client.get("/v1/models").json()["data"][0]["id"] == "en_US-joe-medium"
    assert tts.readiness() == {"ready": True, "state": "ready", "why": ""}
    assert tts.client.get("/docs").status_code == 404


def test_a_missing_voice_is_told(service: ServiceFactory) -> None:
    tts = service("tts", env={"APPLIANCE_TTS__VOICE": "xx_XX-nobody-low"}, ready=False)
    said = tts.readiness()
    assert (said["ready"], said["state"]) == (False, "failed")
    assert "xx_XX-nobody-low" in str(said["why"])
    answer = speak(tts, "Hello.")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")


def test_nothing_said_is_logged(tts: ServiceHandle) -> None:
    speak(tts, "Rhododendron canary.")
    assert "hododendron" not in tts.log.read_text()
