"""A server of the owner's own in a service's place: its address, its key, and what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import web
from livekit.agents import llm

from appliance.elsewhere import bearer, root
from appliance.measuring.sides import ours
from appliance.personas import Persona
from appliance.settings import Settings
from services.agent.mind import make_mind
from services.agent.rank import ATTEMPT_HEADER, LIVE, PRIORITY_HEADER, Rank
from services.agent.talk import make_voice
from services.agent.upstream import Upstream
from services.panel.doctor.loop import speak_and_hear
from services.panel.speech.services import Services
from tests.agent_fakes import FakeLlm

pytestmark = pytest.mark.unit

KEY = "canary-key-0123456789"


class Elsewhere:
    """Speaks OpenAI's API, and notes what it is shown."""

    def __init__(self) -> None:
        self.mind = FakeLlm("<think>Easy", ".</think>", "The capital ", "is Rome.")
        self.headers: list[Any] = []
        self.spoken: list[dict[str, Any]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(request.headers)
        if request.path.endswith("/chat/completions"):
            return await self.mind.handle(request)
        if request.path.endswith("/audio/speech"):
            self.spoken.append(await request.json())
            return web.Response(body=b"\0\0" * 240)
        return web.json_response({"text": "Hello."})


@asynccontextmanager
async def serving(fake: Elsewhere) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/{path:.*}", fake.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def settings_of(tmp_path: Path, url: str, **more: Any) -> Settings:
    place: Any = {"url": url, "api_key": KEY}
    return Settings(data_dir=tmp_path, stt=place, llm={**place, **more}, tts=place)


async def answer(settings: Settings) -> str:
    talk = llm.ChatContext.empty()
    talk.add_message(role="user", content="What is the capital of Italy?")
    mind = make_mind(settings, Persona(name="tester", instructions="Be brief."), "s1")
    async with mind.chat(chat_ctx=talk) as said:
        text = "".join([c.delta.content or "" async for c in said if c.delta])
    await mind.aclose()
    return text


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
async def test_a_language_model_elsewhere_is_shown_its_key_and_told_not_to_think(
    tmp_path: Path, end: str
) -> None:
    fake = Elsewhere()
    async with serving(fake) as url:
        text = await answer(settings_of(tmp_path, url + end, model="qwen"))
    (headers,), (body,) = fake.headers, fake.mind.bodies
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body["model"] == "qwen"
    # What it thinks all the same is not spoken.
    assert text.strip() == "The capital is Rome."


async def test_a_server_that_refuses_the_field_is_not_sent_it(tmp_path: Path) -> None:
    fake = Elsewhere()
    async with serving(fake) as url:
        await answer(settings_of(tmp_path, url, no_thinking=False))
    assert "chat_template_kwargs" not in fake.mind.bodies[0]


@pytest.mark.parametrize("service", ["stt", "tts"])
async def test_ear_and_voice_elsewhere_are_shown_their_keys(tmp_path: Path, service: Any) -> None:
    fake = Elsewhere()
    async with serving(fake) as url:
        upstream = Upstream.of(service, settings_of(tmp_path, url), "s1")
        async with upstream.post("/v1/audio/x", rank=LIVE, silence_s=30, json={}) as answered:
            assert answered.status == 200
        await upstream.aclose()
    assert fake.headers[0]["Authorization"] == f"Bearer {KEY}"


async def test_the_panel_and_the_benchmark_show_the_key_too(tmp_path: Path) -> None:
    fake = Elsewhere()
    async with serving(fake) as url:
        settings = settings_of(tmp_path, url)
        panel = Services(settings)
        await panel.client("llm").post("/v1/audio/x", json={})
        await panel.close()
        async with ours(settings, None).llm() as bench:
            await bench.post("/v1/audio/x", json={})
    assert [one["Authorization"] for one in fake.headers] == [f"Bearer {KEY}"] * 2


def test_the_boxs_own_services_are_shown_no_key(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "")
    assert [bearer(one) for one in (settings.stt, settings.llm, settings.tts)] == [{}, {}, {}]
    assert root(settings.llm) == ""


def test_no_key_stands_in_a_text_of_the_settings(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "http://10.1.2.3/v1")
    assert KEY not in repr(settings)
    assert KEY not in settings.model_dump_json()


async def speak(settings: Settings, turns: Any) -> None:
    voice = make_voice(settings, Persona(name="tester", instructions="Be brief."), "s1", turns)
    async with voice.synthesize("Hello.") as sound:
        async for _ in sound:
            pass
    await voice.aclose()


@pytest.mark.parametrize(("model", "named"), [("", "af_sky"), ("kokoro", "kokoro")])
async def test_a_voice_elsewhere_is_one_of_a_model(tmp_path: Path, model: str, named: str) -> None:
    fake = Elsewhere()
    async with serving(fake) as url:
        place = {"url": url, "voice": "af_sky", "model": model}
        settings = Settings(data_dir=tmp_path, tts=place, stt={"url": url})
        await speak(settings, Mock(rank=LIVE))
        panel = Services(settings)
        loop = await speak_and_hear(settings, panel, b"sound", "audio/flac")
        await panel.close()
    assert [step.state for step in loop.steps] == ["ok", "ok"]
    assert [(one["model"], one["voice"]) for one in fake.spoken] == [(named, "af_sky")] * 2


async def test_the_boxs_own_voice_is_asked_for_no_model(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, tts={"model": "kokoro"})
    voice = make_voice(
        settings, Persona(name="tester", instructions="Be brief."), "s1", Mock(rank=LIVE)
    )
    assert voice.wanted("Hello.")["model"] == "default"
    await voice.aclose()


async def test_a_voice_elsewhere_which_nobody_raises_is_asked_live(tmp_path: Path) -> None:
    fake = Elsewhere()
    async with serving(fake) as url:
        await speak(settings_of(tmp_path, url), Mock(rank=Rank("preemptive", "a1")))
    assert fake.headers[0][PRIORITY_HEADER] == "live"
    assert ATTEMPT_HEADER not in fake.headers[0]
