"""Several rooms in one language model at once, over its socket, and everything that can go wrong in one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import httpx
import httpx2
import openai
import pytest

from services.llm.vocabulary import Message
from tests.margins import Margins, margins
from tests.results import note
from tests.services.conftest import ServiceFactory, ServiceHandle
from tests.services.test_llm import alone_after_a_while
from tests.waiting import until

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]

PATH = "/v1/chat/completions"
RUNNING = 'earshot_requests_running{service="llm"}'
WINDOW = 512
SYSTEM = {"role": "system", "content": "You answer in one short sentence. " * 14}
COUNTRIES = ("France", "Spain", "Italy", "Germany")
# Who else is in a step decides how its numbers are added up, which moves logits by some hundredths.
# What does not belong into an answer lies whole numbers away.
CLOSE = 0.2


@pytest.fixture(scope="module")
def llm(service: ServiceFactory) -> ServiceHandle:
    env = {"APPLIANCE_LLM__CONTEXT_TOKENS": str(WINDOW), "APPLIANCE_AGENT__SEATS": "7"}
    return service("llm", env=env)


async def ask(
    http: httpx.AsyncClient, room: str, messages: list[dict[str, str]], **fields: Any
) -> dict[str, Any]:
    body = {"messages": messages, "temperature": 0, "max_tokens": 16, **fields}
    answer = await http.post(PATH, json=body, headers={"X-Earshot-Session": room})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def questions(country: str) -> tuple[str, ...]:
    return (f"What is the capital of {country}?", "Is it large?", "Thank you.")


async def talk(
    http: httpx.AsyncClient, room: str, country: str, past: Sequence[str] = ()
) -> tuple[list[str], list[int]]:
    """Some turns of one room: what was answered, and how many tokens were known at each.

    With a ``past`` each turn is asked as if that had been said before.
    """
    messages, said, known, before = [SYSTEM], list[str](), list[int](), 0
    for turn, question in enumerate(questions(country)):
        messages.append({"role": "user", "content": question})
        answer = await ask(http, room, messages)
        choice = answer["choices"][0]
        said.append(choice["message"]["content"])
        assert said[-1].strip()
        assert choice["finish_reason"] in ("stop", "length")
        messages.append({"role": "assistant", "content": (past or said)[turn]})
        usage = answer["usage"]
        known.append(usage["prompt_tokens_details"]["cached_tokens"])
        # All that was in the prompt before is known, whatever the other rooms did meanwhile.
        assert known[-1] >= before
        before = usage["prompt_tokens"]
    return said, known


@pytest.fixture(scope="module")
def reader() -> Iterator[Margins]:
    with margins("smollm2-135m-instruct", WINDOW) as found:
        yield found


def apart(reader: Margins, country: str, one: Sequence[str], other: Sequence[str]) -> list[float]:
    """At each turn with another answer: how nearly the other had been given."""
    talk, found = [Message("system", SYSTEM["content"])], []
    for question, first, second in zip(questions(country), one, other, strict=True):
        talk.append(Message("user", question))
        if first != second:
            found.append(reader.between(talk, first, second))
        talk.append(Message("assistant", first))
    return found


def test_an_answer_of_another_room_would_be_seen(reader: Margins) -> None:
    right, wrong = ["It is Rome.", "Yes.", "Bye."], ["It is Paris.", "Yes.", "Bye."]
    assert apart(reader, "Italy", right, right) == []
    assert apart(reader, "Italy", right, wrong)[0] > 5 * CLOSE


async def test_four_rooms_say_the_same_while_others_fail(
    llm: ServiceHandle, reader: Margins
) -> None:
    over = asyncio.Event()

    async def bad_requests(http: httpx.AsyncClient) -> None:
        wrong: list[dict[str, Any]] = [
            {"messages": []}, {"messages": [{"role": "user", "content": "word " * 3000}]},
            {"messages": [SYSTEM], "tools": [{"type": "function"}]}, {"messages": "x"},
        ]  # fmt: skip
        while not over.is_set():
            for body in wrong:
                answer = await http.post(PATH, json=body, headers={"X-Earshot-Session": "bad"})
                assert answer.status_code == 400, answer.text

    async def leaves_in_the_middle(http: httpx.AsyncClient) -> None:
        body = {"messages": [SYSTEM], "stream": True, "max_tokens": 200}
        while not over.is_set():
            async with http.stream(
                "POST", PATH, json=body, headers={"X-Earshot-Session": "leaving"}
            ) as answer:
                async for _ in answer.aiter_bytes():
                    break

    async def fills_its_window(http: httpx.AsyncClient) -> None:
        body = {"messages": [SYSTEM, *STORY], "temperature": 1.9, "max_tokens": WINDOW}
        while not over.is_set():
            answer = await http.post(PATH, json=body, headers={"X-Earshot-Session": "full"})
            assert answer.status_code == 200, answer.text
            assert answer.json()["usage"]["total_tokens"] <= WINDOW

    async with llm.async_client() as http, llm.async_client() as other:
        quiet = await asyncio.gather(*(talk(http, f"quiet {name}", name) for name in COUNTRIES))
        faults = [
            asyncio.create_task(fault(other))
            for fault in (bad_requests, leaves_in_the_middle, fills_its_window)
        ]
        beside = await asyncio.gather(
            *(talk(http, name, name, quiet[at][0]) for at, name in enumerate(COUNTRIES))
        )
        over.set()
        await asyncio.gather(*faults)
    others = [apart(reader, name, quiet[at][0], beside[at][0]) for at, name in enumerate(COUNTRIES)]
    note("llm rooms beside faults", known=[known for _, known in beside], apart=others)
    assert max(sum(others, [0.0])) < CLOSE
    await asyncio.to_thread(until, lambda: llm.metric(RUNNING) == 0)


async def test_four_answers_are_written_at_once(llm: ServiceHandle) -> None:
    story = [{"role": "user", "content": "Tell me a very long story about a lighthouse."}]
    body = {"messages": story, "stream": True, "max_tokens": 60, "temperature": 0}
    order: list[int] = []

    async def write(http: httpx.AsyncClient, number: int) -> None:
        headers = {"X-Earshot-Session": f"writer-{number}"}
        async with http.stream("POST", PATH, json=body, headers=headers) as answer:
            async for line in answer.aiter_lines():
                words = line.startswith("data: {") and json.loads(line[6:])["choices"]
                order.extend([number] if words else [])

    async with llm.async_client() as http:
        await asyncio.gather(*(write(http, number) for number in range(4)))
    # One after another would end one answer before the next begins.
    first_end = min(len(order) - order[::-1].index(n) for n in range(4))
    last_start = max(order.index(n) for n in range(4))
    assert last_start < first_end


async def test_a_shared_beginning_is_read_once(llm: ServiceHandle) -> None:
    async with llm.async_client() as http:
        question = {"role": "user", "content": "Who are you?"}
        await ask(http, "first", [SYSTEM, question], max_tokens=1)
        other = [SYSTEM, {"role": "user", "content": "Where am I?"}]
        usage = (await ask(http, "second", other, max_tokens=1))["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] > 80


async def test_a_full_window_drops_history_and_goes_on(llm: ServiceHandle) -> None:
    messages = [SYSTEM]
    async with llm.async_client() as http:
        for number in range(12):
            said = f"Remember that box number {number} holds {number} blue and {number} red balls."
            messages.append({"role": "user", "content": said})
            answer = await ask(http, "long", messages, max_tokens=40)
            assert answer["usage"]["total_tokens"] <= WINDOW
            text = answer["choices"][0]["message"]["content"]
            messages.append({"role": "assistant", "content": text + " I see." * 4})


@pytest.fixture
async def client(llm: ServiceHandle) -> AsyncIterator[openai.AsyncOpenAI]:
    transport = httpx2.AsyncHTTPTransport(uds=str(llm.socket))
    async with (
        httpx2.AsyncClient(transport=transport, timeout=30) as http,
        openai.AsyncOpenAI(
            base_url="http://llm/v1", api_key="-", http_client=http, max_retries=0
        ) as found,
    ):
        yield found


STORY: list[Any] = [{"role": "user", "content": "Tell me a very long story about a dragon."}]


async def test_openais_client_cancels(client: openai.AsyncOpenAI, llm: ServiceHandle) -> None:
    stream = await client.chat.completions.create(
        model="default", messages=STORY, max_tokens=400, stream=True
    )
    await anext(aiter(stream))
    await stream.close()
    await alone_after_a_while(llm)


async def test_openais_client_is_told_what_is_wrong(client: openai.AsyncOpenAI) -> None:
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": {}}}
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(model="default", messages=STORY, tools=[tool])
    assert refused.value.code == "tools_not_supported"
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(model="gpt-4", messages=STORY)
    with pytest.raises(openai.BadRequestError) as too_long:
        await client.chat.completions.create(
            model="default", messages=[{"role": "user", "content": "word " * 3000}]
        )
    assert too_long.value.code == "context_length_exceeded"


async def test_openais_client_lists_the_model(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["smollm2-135m-instruct"]


async def test_more_callers_than_places_are_answered_one_after_another(llm: ServiceHandle) -> None:
    async with llm.async_client() as http:
        asked = (
            ask(http, f"room-{n}", [{"role": "user", "content": f"Say {n}."}], max_tokens=8)
            for n in range(10)
        )
        answers = await asyncio.gather(*asked)
    assert all(answer["usage"]["completion_tokens"] for answer in answers)


@pytest.mark.parametrize("raised", [False, True])
async def test_an_answer_begun_early_is_live_when_its_turn_is_over(
    llm: ServiceHandle, raised: bool
) -> None:
    ended = f'earshot_requests_total{{priority="{"live" if raised else "preemptive"}",result="ok",service="llm"}}'
    attempt = f"raised-{raised}"
    headers = {"X-Earshot-Priority": "preemptive", "X-Earshot-Attempt": attempt}
    body = {
        "messages": [SYSTEM, {"role": "user", "content": "Tell me a long story."}],
        "temperature": 0, "max_tokens": 60, "stream": True,
    }  # fmt: skip
    before = await asyncio.to_thread(_metric_or_0, llm, ended)
    async with llm.async_client() as http, llm.async_client() as other:
        async with http.stream("POST", PATH, json=body, headers=headers) as early:
            lines = early.aiter_lines()
            await anext(lines)
            told = await other.post(f"/v1/attempts/{attempt if raised else 'another'}/live")
            assert told.status_code == 204
            # Another room's answer comes in between, whoever waits for whom.
            assert await ask(other, "live", [SYSTEM, {"role": "user", "content": "Hello."}])
            rest = [line async for line in lines]
        assert rest[-2:] == ["data: [DONE]", ""]
    await asyncio.to_thread(
        until, lambda: _metric_or_0(llm, ended) == before + (2 if raised else 1)
    )


def _metric_or_0(llm: ServiceHandle, name: str) -> float:
    """A count that nobody has added to is not there yet."""
    page = llm.client.get("/metrics").text
    return next(
        (float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(name)), 0.0
    )
