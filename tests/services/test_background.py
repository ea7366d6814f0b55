"""Other programs' work under callers' work, with the real models."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from tests.results import note
from tests.services.asking import JFK, SAID, TRANSCRIBE, repeated, words_of
from tests.services.conftest import ServiceFactory, ServiceHandle
from tests.waiting import until

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]

CHAT, SPEECH = "/v1/chat/completions", "/v1/audio/speech"
BACKGROUND = {"X-Earshot-Priority": "background"}
STORY = [{"role": "user", "content": "Tell me a very long story about a lighthouse keeper."}]
# As a call's: a prompt of some length, whose beginning is known from the turn before.
TALK = [
    {"role": "system", "content": "You answer in one short sentence. " * 12},
    {"role": "user", "content": "What is the capital of France?"},
]
TURNS = 5


@pytest.fixture(scope="module")
def llm(service: ServiceFactory) -> ServiceHandle:
    return service("llm", env={"APPLIANCE_LLM__CONTEXT_TOKENS": "1024"})


async def first_words(http: httpx.AsyncClient, number: int) -> tuple[float, int]:
    """Seconds until a live answer's first words, and how many tokens were known already."""
    body = {
        "messages": [*TALK[:1], {"role": "user", "content": f"What is {number} and one?"}],
        "max_tokens": 8, "temperature": 0, "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    began, first, known = time.monotonic(), 0.0, 0
    async with http.stream("POST", CHAT, json=body) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line[6:])
            if not first and event["choices"] and event["choices"][0]["delta"].get("content"):
                first = time.monotonic() - began
            if event.get("usage"):
                known = event["usage"]["prompt_tokens_details"]["cached_tokens"]
    return first, known


async def told(http: httpx.AsyncClient, body: dict[str, Any], begun: asyncio.Event) -> str:
    """A streamed background answer, whole."""
    text = ""
    async with http.stream("POST", CHAT, json={**body, "stream": True}, headers=BACKGROUND) as got:
        assert got.status_code == 200
        lines = [line async for line in noting(got, begun)]
    assert lines[-1] == "data: [DONE]"
    for line in lines[:-1]:
        text += json.loads(line[6:])["choices"][0]["delta"].get("content", "")
    return text


async def noting(answer: httpx.Response, begun: asyncio.Event) -> Any:
    async for line in answer.aiter_lines():
        if line:
            yield line
        begun.set()


async def test_a_callers_question_overtakes_a_story_and_the_story_goes_on(
    llm: ServiceHandle,
) -> None:
    body = {"messages": STORY, "max_tokens": 220, "temperature": 0}
    async with llm.async_client() as http, llm.async_client() as other:
        await first_words(http, 0)
        alone = [await first_words(http, number) for number in range(1, 1 + TURNS)]
        undisturbed = await told(other, body, asyncio.Event())
        await first_words(http, 20)
        begun = asyncio.Event()
        story = asyncio.create_task(told(other, body, begun))
        await begun.wait()
        beside: list[tuple[float, int]] = []
        while not story.done() and len(beside) < TURNS:
            beside.append(await first_words(http, 30 + len(beside)))
        disturbed = await story
    assert beside, "the story was over before the first question"
    middle = sorted(first for first, _ in alone)[len(alone) // 2]
    with_story = sorted(first for first, _ in beside)[len(beside) // 2]
    note(
        "live chat beside a background one",
        first_token_ms={"alone": round(middle * 1000), "beside": round(with_story * 1000)},
        ratio=round(with_story / middle, 2), questions=len(beside),
    )  # fmt: skip
    # Greedy: not a word is lost or said twice where the callers came in between.
    assert disturbed == undisturbed
    assert len(disturbed) > 200
    # The call's own beginning is not read again after each interruption.
    assert min(known for _, known in beside) >= min(known for _, known in alone) > 60


async def test_a_long_background_prompt_gives_way_while_it_is_read(llm: ServiceHandle) -> None:
    prompt = [{"role": "user", "content": "Read. " + "The ship sails on the sea. " * 120}]
    body = {"messages": prompt, "max_tokens": 1, "temperature": 0}
    async with llm.async_client() as http, llm.async_client() as other:
        slow = asyncio.create_task(other.post(CHAT, json=body, headers=BACKGROUND))
        await asyncio.to_thread(
            until, lambda: llm.metric('earshot_requests_running{service="llm"}') == 1
        )
        await first_words(http, 50)
        assert not slow.done(), "the caller waited until the whole prompt was read"
        answer = await slow
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] == 1


async def test_a_background_client_that_leaves_frees_the_engine(llm: ServiceHandle) -> None:
    running = 'earshot_requests_running{service="llm"}'
    async with llm.async_client() as leaving:
        body = {"messages": STORY, "max_tokens": 600}
        asking = asyncio.create_task(leaving.post(CHAT, json=body, headers=BACKGROUND))
        await asyncio.to_thread(until, lambda: llm.metric(running) == 1)
        asking.cancel()
    await asyncio.to_thread(until, lambda: llm.metric(running) == 0)


async def test_a_callers_sentence_overtakes_a_text_that_is_read_aloud(
    service: ServiceFactory,
) -> None:
    tts = service("tts", env={"APPLIANCE_TTS__WORKERS": "1"})
    text = "The keeper lit the lamp and looked at the sea. " * 30
    long = {"input": text, "response_format": "mp3"}
    running = 'earshot_requests_running{service="tts"}'
    async with tts.async_client() as http, tts.async_client() as other:
        reading = asyncio.create_task(
            other.post(SPEECH, json=long, headers=BACKGROUND, timeout=120)
        )
        await asyncio.to_thread(until, lambda: tts.metric(running) == 1)
        short = {"input": "Yes, of course.", "response_format": "pcm"}
        answer = await http.post(SPEECH, json=short)
        assert answer.status_code == 200
        assert not reading.done(), "the caller waited for the whole text"
        read = await reading
    assert read.status_code == 200
    assert len(read.content) > 100_000


async def test_a_callers_words_overtake_a_long_recording(service: ServiceFactory) -> None:
    stt = service("stt")
    running = 'earshot_requests_running{service="stt"}'
    long, short = repeated(6), JFK
    async with stt.async_client() as http, stt.async_client() as other:
        how: dict[str, Any] = {"data": {"language": "en"}, "timeout": 300}
        began = time.monotonic()
        answer = await http.post(TRANSCRIBE, files={"file": ("a.flac", short)}, **how)
        alone = time.monotonic() - began
        hearing = asyncio.create_task(
            other.post(TRANSCRIBE, files={"file": ("b.flac", long)}, headers=BACKGROUND, **how)
        )
        await asyncio.to_thread(until, lambda: stt.metric(running) == 1)
        began = time.monotonic()
        beside = await http.post(TRANSCRIBE, files={"file": ("a.flac", short)}, **how)
        waited = time.monotonic() - began
        assert not hearing.done(), "the caller waited for the whole recording"
        heard = await hearing
    note(
        "live transcript beside a background one",
        transcript_ms={"alone": round(alone * 1000), "beside": round(waited * 1000)},
        ratio=round(waited / alone, 2),
    )  # fmt: skip
    assert beside.json() == answer.json()
    assert words_of(heard.json()["text"]).count(SAID) == 6
