"""The model reads the question while it is being asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from livekit.agents import llm

from appliance.personas import Persona
from appliance.settings import Settings
from services.agent.mind import make_mind
from services.agent.reading_ahead import ReadingAhead
from services.agent.speculation import Speculation
from tests.agent_fakes import FakeLlm, serving, until

pytestmark = pytest.mark.unit


@asynccontextmanager
async def reader(
    tmp_path: Path, service: FakeLlm, load: float = 0.0
) -> AsyncIterator[ReadingAhead]:
    settings = Settings(data_dir=tmp_path)
    settings.run_dir.mkdir()
    persona = Persona(name="tester", instructions="Be brief.")
    talk = llm.ChatContext.empty()
    talk.add_message(role="system", content="Be brief.")
    made = ReadingAhead(
        make_mind(settings, persona, "s1", prefill=True), lambda: "Now,",
        Speculation("en", lambda: load),
    )  # fmt: skip
    made.context = lambda: talk
    async with serving(settings.socket("llm"), "/v1/chat/completions", service.handle):
        yield made
        await made.aclose()
    assert len(talk.items) == 1


async def test_what_is_understood_is_read_and_nothing_is_answered(tmp_path: Path) -> None:
    service = FakeLlm()
    async with reader(tmp_path, service) as reading:
        reading.understood("what is the")
        await until(lambda: service.bodies)
        (body,), (headers,) = service.bodies, service.headers
        assert body["max_tokens"] == 0
        assert headers["X-Earshot-Priority"] == "speculative"
        assert headers["X-Earshot-Session"] == "s1"
        assert [m["content"] for m in body["messages"]] == ["Be brief.", "Now, what is the"]


async def test_one_reading_at_a_time_and_a_rest_after_it(tmp_path: Path) -> None:
    service = FakeLlm()
    service.go.clear()
    async with reader(tmp_path, service) as reading:
        reading.understood("what is")
        await until(lambda: service.bodies)
        reading.understood("what is the")
        service.go.set()
        assert reading._task is not None
        await reading._task
        # The first took a while: four times as long nothing is asked.
        reading.understood("what is the capital")
        assert reading._speculation.begun["prompt"] == 1
        reading._not_before = 0.0
        reading.understood("what is the capital of")
        await until(lambda: len(service.bodies) == 2)


async def test_a_question_in_earnest_stops_it(tmp_path: Path) -> None:
    service = FakeLlm()
    service.go.clear()
    async with reader(tmp_path, service) as reading:
        reading.understood("what is")
        await until(lambda: service.bodies)
        reading.stop()
        task = reading._task
        assert task is not None
        await asyncio.wait([task])
        assert task.cancelled()


async def test_a_machine_without_time_reads_nothing(tmp_path: Path) -> None:
    service = FakeLlm()
    async with reader(tmp_path, service, load=99.0) as reading:
        reading.understood("what is")
        assert reading._task is None


async def test_a_model_that_is_down_is_no_reason_to_complain(tmp_path: Path) -> None:
    persona = Persona(name="tester", instructions="Be brief.")
    mind = make_mind(Settings(data_dir=tmp_path), persona, "s1", prefill=True)
    reading = ReadingAhead(mind, lambda: "", Speculation("en", lambda: 0.0))
    reading.understood("what is")
    assert reading._task is not None
    await reading._task
    await reading.aclose()


async def test_a_server_elsewhere_is_not_bothered() -> None:
    reading = ReadingAhead(None, lambda: "", Speculation("en", lambda: 0.0))
    reading.understood("what is")
    await reading.aclose()
    assert reading._speculation.begun["prompt"] == 0
