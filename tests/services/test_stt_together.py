"""The ear with several rooms at once, through OpenAI's own client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest

from tests.recordings import error_rate, speech
from tests.services.asking import JFK, RUNNING, SAID, SPEECH, repeated, words_of
from tests.services.conftest import ServiceFactory, ServiceHandle
from tests.waiting import until

pytestmark = pytest.mark.services

ROOMS = 4


@pytest.fixture(scope="module")
def ear(service: ServiceFactory) -> ServiceHandle:
    return service("stt")


@pytest.fixture
async def client(ear: ServiceHandle) -> AsyncIterator[openai.AsyncOpenAI]:
    transport = httpx2.AsyncHTTPTransport(uds=str(ear.socket))
    async with (
        httpx2.AsyncClient(transport=transport) as http,
        openai.AsyncOpenAI(
            base_url="http://stt/v1", api_key="-", max_retries=0, http_client=http
        ) as made,
    ):
        yield made


async def hear(
    client: openai.AsyncOpenAI, sound: bytes, room: str, priority: str = "live", **fields: Any
) -> Any:
    return await client.audio.transcriptions.create(
        file=("a.flac", sound),
        model="whisper-1",
        extra_headers={"X-Earshot-Session": room, "X-Earshot-Priority": priority},
        **fields,
    )


async def begun(ear: ServiceHandle) -> None:
    await asyncio.to_thread(until, lambda: ear.metric(RUNNING) > 0)


async def test_rooms_that_speak_at_once_hear_their_own_words(client: openai.AsyncOpenAI) -> None:
    clips = [clip for clip in speech() if clip["seconds"] < 6]
    sounds = [(SPEECH / clip["file"]).read_bytes() for clip in clips]
    alone = [(await hear(client, sound, "one", language="en")).text for sound in sounds]
    heard: list[str] = []
    for at in range(0, len(sounds), ROOMS):
        answers = await asyncio.gather(
            *(
                hear(client, sound, f"room {number}", language="en")
                for number, sound in enumerate(sounds[at : at + ROOMS])
            )
        )
        heard += [answer.text for answer in answers]
    assert error_rate([clip["text"] for clip in clips], heard) <= 0.12
    # In a batch sums are rounded in another order: a word at the most may differ.
    assert error_rate(alone, heard) <= 0.02


async def test_a_room_that_fails_does_not_disturb_the_others(
    client: openai.AsyncOpenAI, ear: ServiceHandle
) -> None:
    gone = asyncio.create_task(hear(client, repeated(5), "gone", language="en"))
    await begun(ear)
    rooms = [asyncio.create_task(hear(client, JFK, f"room {n}", language="en")) for n in range(4)]
    broken = asyncio.create_task(hear(client, b"fLaC" + bytes(5000), "broken", language="en"))
    unknown = asyncio.create_task(hear(client, JFK, "unknown", language="xx"))
    gone.cancel()
    for room in rooms:
        assert SAID in words_of((await room).text)
    for failed, code in ((broken, "audio_unreadable"), (unknown, "language_not_supported")):
        with pytest.raises(openai.BadRequestError) as refused:
            await failed
        assert refused.value.code == code
    with pytest.raises(asyncio.CancelledError):
        await gone
    await asyncio.to_thread(until, lambda: ear.metric(RUNNING) == 0)


async def test_a_rooms_language_is_heard_without_being_told(client: openai.AsyncOpenAI) -> None:
    for _ in range(2):
        answer = await hear(client, JFK, "untold", response_format="verbose_json")
        assert answer.language == "en"
        assert SAID in words_of(answer.text)


async def test_a_room_has_one_interim_request_at_most(
    client: openai.AsyncOpenAI, ear: ServiceHandle
) -> None:
    talk = repeated(2)
    old = asyncio.create_task(hear(client, talk, "kitchen", "interim", language="en"))
    await begun(ear)
    elsewhere = asyncio.create_task(hear(client, JFK, "hall", "interim", language="en"))
    new = await hear(client, JFK, "kitchen", "interim", language="en")
    assert SAID in words_of(new.text)
    assert SAID in words_of((await elsewhere).text)
    with pytest.raises(openai.ConflictError) as overtaken:
        await old
    assert overtaken.value.code == "superseded"


async def test_openais_client_reads_what_is_wrong(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.audio.transcriptions.create(file=("a.flac", JFK), model="gpt-4o-transcribe")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as empty:
        await client.audio.transcriptions.create(file=("a.wav", b""), model="whisper-1")
    assert empty.value.code == "audio_empty"
    with pytest.raises(openai.PermissionDeniedError) as fetched:
        await client.audio.transcriptions.create(
            file=("a.flac", JFK), model="whisper-1", extra_body={"url": "http://example.com/a.wav"}
        )
    assert fetched.value.code == "url_not_allowed"


async def test_a_request_that_openais_client_gives_up_frees_the_model(
    client: openai.AsyncOpenAI, ear: ServiceHandle
) -> None:
    # The whole takes minutes to write down; after a step of the model it is given up.
    talk = repeated(90)
    asked = asyncio.create_task(
        client.audio.transcriptions.create(file=("a.flac", talk), model="whisper-1")
    )
    await begun(ear)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await asyncio.to_thread(until, lambda: ear.metric(RUNNING) == 0)
    with pytest.raises(openai.APITimeoutError):
        await client.with_options(timeout=0.3).audio.transcriptions.create(
            file=("a.flac", talk), model="whisper-1"
        )
    await asyncio.to_thread(until, lambda: ear.metric(RUNNING) == 0)
