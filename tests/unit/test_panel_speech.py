"""The speech API's way through the panel: nothing kept, nothing let through that should not be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from appliance.setting_groups import SttSettings
from services.panel.access.identity import digest_of, new_key
from tests.panel_app import Panel, box_settings, running_panel, stranger
from tests.serving_apps import served
from tests.waiting import eventually

pytestmark = pytest.mark.unit

HEAR, CHAT, SPEAK = "/v1/audio/transcriptions", "/v1/chat/completions", "/v1/audio/speech"
MIB = 1 << 20


class FakeService:
    """A service that tells what it was sent, and answers when it is told to."""

    def __init__(self, *models: str) -> None:
        self.models = models
        self.headers: dict[str, str] = {}
        self.received = 0
        self.body: dict[str, Any] = {}
        self.asked = asyncio.Event()
        self.go = asyncio.Event()
        self.left = asyncio.Event()
        self.answer: Response | None = None
        self.app = Starlette(
            routes=[
                Route("/v1/models", self.list),
                Route("/{path:path}", self.take, methods=["POST"]),
            ]
        )

    async def list(self, _request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": name} for name in self.models]})

    async def take(self, request: Request) -> Response:
        self.headers = dict(request.headers)
        sent = b""
        try:
            async for part in request.stream():
                self.received += len(part)
                sent = (sent + part)[:MIB]
        except ClientDisconnect:
            self.left.set()
            raise
        if sent.startswith(b"{"):
            self.body = json.loads(sent)
        self.asked.set()
        if self.answer is not None:
            return self.answer
        return StreamingResponse(self.words(request), media_type="text/event-stream")

    async def words(self, request: Request) -> AsyncIterator[bytes]:
        try:
            yield b"data: one\n\n"
            await self.go.wait()
            yield b"data: two\n\n"
        except asyncio.CancelledError:
            self.left.set()
            raise


class Bench:
    """The panel on a socket, with fake services behind it."""

    def __init__(self, panel: Panel, http: httpx.AsyncClient, **services: FakeService) -> None:
        self.panel, self.http = panel, http
        self.stt, self.llm, self.tts = services["stt"], services["llm"], services["tts"]


@asynccontextmanager
async def bench(folder: Path, *, running: str = "stt llm tts") -> AsyncIterator[Bench]:
    settings = box_settings(folder / "d", stt=SttSettings(max_upload_mb=40))
    settings.run_dir.mkdir(parents=True)
    services = {
        "stt": FakeService("whisper-base"), "llm": FakeService("tiny"),
        "tts": FakeService("joe", "amy"),
    }  # fmt: skip
    async with AsyncExitStack() as stack:
        for name in running.split():
            await stack.enter_async_context(served(services[name].app, settings.socket(name)))
        panel = await stack.enter_async_context(running_panel(settings))
        await stack.enter_async_context(served(panel.app, settings.socket("panel")))
        http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(settings.socket("panel"))),
            base_url=panel.http.base_url, timeout=30,
            headers={"Authorization": panel.http.headers["authorization"]},
        )  # fmt: skip
        async with http:
            yield Bench(panel, http, **services)


async def test_only_a_few_headers_pass_and_the_priority_is_ours(tmp_path: Path) -> None:
    async with bench(tmp_path) as box:
        box.llm.go.set()
        own = {
            "X-Earshot-Priority": "live", "X-Earshot-Session": "a-call", "Cookie": "earshot=x",
            "X-Forwarded-For": "10.0.0.9", "Connection": "close, X-Odd", "X-Odd": "1",
        }  # fmt: skip
        answer = await box.http.post(CHAT, json={"messages": []}, headers=own)
        assert answer.text == "data: one\n\ndata: two\n\n"
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert box.llm.headers["x-earshot-priority"] == "background"
        assert box.llm.headers["content-type"] == "application/json"
        hidden = {"authorization", "cookie", "x-earshot-session", "x-forwarded-for", "x-odd"}
        assert not hidden & set(box.llm.headers)
        assert "server" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"


async def test_an_answer_is_handed_on_while_it_is_made(tmp_path: Path) -> None:
    async with bench(tmp_path) as box, box.http.stream("POST", CHAT, json={}) as answer:
        parts = answer.aiter_raw()
        assert await anext(parts) == b"data: one\n\n"
        box.llm.go.set()
        assert await anext(parts) == b"data: two\n\n"


async def test_a_client_that_leaves_in_the_middle_ends_the_work(tmp_path: Path) -> None:
    async with bench(tmp_path) as box:
        async with box.http.stream("POST", CHAT, json={}) as answer:
            await anext(answer.aiter_raw())
        await asyncio.wait_for(box.llm.left.wait(), 30)


async def test_a_client_that_leaves_before_the_answer_ends_the_work(tmp_path: Path) -> None:
    async with bench(tmp_path) as box:

        async def never(request: Request) -> Response:
            await request.body()
            box.llm.asked.set()
            while (await request.receive())["type"] != "http.disconnect":
                pass
            box.llm.left.set()
            return Response()

        box.llm.app.router.routes.insert(0, Route(CHAT, never, methods=["POST"]))
        asking = asyncio.create_task(box.http.post(CHAT, json={}))
        await box.llm.asked.wait()
        asking.cancel()
        await asyncio.wait_for(box.llm.left.wait(), 30)


async def test_a_recording_is_never_held_as_a_whole(tmp_path: Path) -> None:
    async with bench(tmp_path) as box:
        box.stt.answer = JSONResponse({"text": "hello"})
        sent = held = 0

        async def recording() -> AsyncIterator[bytes]:
            nonlocal sent, held
            for _ in range(32):
                yield bytes(MIB)
                sent += MIB
                held = max(held, sent - box.stt.received)

        answer = await box.http.post(
            HEAR, content=recording(), headers={"Content-Type": "multipart/form-data; boundary=x"}
        )
        assert (answer.status_code, answer.json()) == (200, {"text": "hello"})
        assert box.stt.received == 32 * MIB
        assert held < 8 * MIB


@pytest.mark.parametrize("declared", [True, False])
async def test_too_large_a_body_is_refused_on_the_way(tmp_path: Path, declared: bool) -> None:
    async with bench(tmp_path) as box:
        body = b'"' + b"a" * (5 * MIB) + b'"'

        async def parts() -> AsyncIterator[bytes]:
            for at in range(0, len(body), MIB):
                yield body[at : at + MIB]

        try:
            answer = await box.http.post(CHAT, content=body if declared else parts())
        except (httpx.WriteError, httpx.RemoteProtocolError):
            # The answer may be cut off by the connection that closes under the rest of the body.
            assert not declared
        else:
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (413, "body_too_large")
            assert error["type"] == "invalid_request_error"
        assert box.llm.received <= 5 * MIB
        assert not box.llm.asked.is_set()


async def test_a_service_that_is_away_is_said(tmp_path: Path) -> None:
    async with bench(tmp_path, running="llm") as box:
        answer = await box.http.post(SPEAK, json={"input": "Hello"})
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        error = answer.json()["error"]
        assert (error["code"], error["type"]) == ("not_ready", "server_error")


async def test_a_services_own_refusal_is_handed_back(tmp_path: Path) -> None:
    async with bench(tmp_path) as box:
        told = {"error": {"message": "No.", "type": "server_error", "code": "busy"}}
        box.tts.answer = JSONResponse(told, 503, headers={"Retry-After": "7", "X-Inner": "1"})
        answer = await box.http.post(SPEAK, json={"input": "Hello"})
        assert (answer.status_code, answer.json()) == (503, told)
        assert answer.headers["retry-after"] == "7"
        assert "x-inner" not in answer.headers


async def test_an_answer_that_breaks_off_is_seen_to(tmp_path: Path) -> None:
    async with bench(tmp_path) as box:

        async def broken() -> AsyncIterator[bytes]:
            yield b"RIFF"
            raise RuntimeError("the voice died")

        box.tts.answer = StreamingResponse(broken(), media_type="audio/wav")
        with pytest.raises(httpx.RemoteProtocolError):
            await box.http.post(SPEAK, json={"input": "Hello"})


async def test_only_so_many_are_under_way(tmp_path: Path) -> None:
    async with bench(tmp_path) as box:
        most = 4
        busy = [asyncio.create_task(box.http.post(HEAR, content=b"x")) for _ in range(most)]
        counted = box.panel.app.state.services

        async def full() -> bool:
            return bool(counted._asked["stt"] == most)

        await eventually(full)
        answer = await box.http.post(HEAR, content=b"x")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "busy")
        assert answer.headers["retry-after"]
        box.stt.go.set()
        assert [done.status_code for done in await asyncio.gather(*busy)] == [200] * most

        async def free() -> bool:
            return bool(counted._asked["stt"] == 0)

        # The last byte is out before the service is told goodbye and the place is given back.
        await eventually(free)


@pytest.mark.parametrize("path", [HEAR, CHAT, SPEAK])
async def test_who_hangs_up_in_the_middle_of_a_body_is_no_mistake_of_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    async with bench(tmp_path) as box:
        service = {HEAR: box.stt, CHAT: box.llm, SPEAK: box.tts}[path]
        asked = box.panel.app.state.services._asked
        _reader, writer = await asyncio.open_unix_connection(
            str(box.panel.desk.settings.socket("panel"))
        )
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
            f"Authorization: {box.http.headers['authorization']}\r\n\r\n{{".encode()
        )

        async def begun() -> bool:
            return service.received == 1

        await eventually(begun)
        writer.close()
        await asyncio.wait_for(service.left.wait(), 30)

        async def free() -> bool:
            return set(asked.values()) == {0}

        await eventually(free)
    out = capsys.readouterr()
    assert "request_broken" not in out.out + out.err


async def test_the_models_of_all_three(tmp_path: Path) -> None:
    async with bench(tmp_path) as box:
        listed = (await box.http.get("/v1/models")).json()
        assert listed["object"] == "list"
        assert {model["id"]: model["task"] for model in listed["data"]} == {
            "whisper-base": "stt", "tiny": "llm", "joe": "tts", "amy": "tts",
        }  # fmt: skip
        assert (await box.http.get("/v1/models/amy")).json()["id"] == "amy"
        missing = await box.http.get("/v1/models/gpt-9")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(("running", "status"), [("tts", 200), ("", 503)])
async def test_models_of_what_answers(tmp_path: Path, running: str, status: int) -> None:
    async with bench(tmp_path, running=running) as box:
        answer = await box.http.get("/v1/models")
        assert answer.status_code == status
        if status == 200:
            assert [model["id"] for model in answer.json()["data"]] == ["joe", "amy"]


async def test_it_is_for_keys_with_its_scope(tmp_path: Path) -> None:
    async with running_panel(box_settings(tmp_path / "d")) as panel:
        async with stranger(panel) as nobody:
            answer = await nobody.post(CHAT, json={})
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "not_signed_in")
        for scopes, code in ((["read", "calls"], "scope_missing"), (["speech"], "not_ready")):
            key_id, secret = new_key()
            panel.store.api_keys.add(key_id, digest_of(secret), "x", scopes, None)
            key = {"Authorization": f"Bearer {secret}"}
            answer = await panel.http.post(CHAT, content=json.dumps({}), headers=key)
            assert answer.json()["error"]["code"] == code


async def test_a_server_of_ones_own_is_asked_by_its_address(tmp_path: Path) -> None:
    settings: Any = {"llm": {"url": "http://10.1.2.3:9000/v1/"}}
    async with running_panel(box_settings(tmp_path / "d", **settings)) as panel:
        client = panel.app.state.services.client("llm")
        asked = client.build_request("POST", CHAT)
        assert str(asked.url) == "http://10.1.2.3:9000/v1/chat/completions"
