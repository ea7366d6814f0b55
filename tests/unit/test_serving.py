"""A service over a real unix socket: readiness, errors, limits, clients that leave."""

from __future__ import annotations

import asyncio
import contextlib
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI, Request, Response
from pydantic import BaseModel

from appliance.errors import ApplianceError
from appliance.serving import create_app, primed, stream, streamed
from appliance.serving.server import bind
from appliance.settings import Settings
from tests.fakes import WAIT_S, FakeEngine, Script, bad_input
from tests.waiting import eventually, until

pytestmark = pytest.mark.unit


class _Ask(BaseModel):
    script: str = "plain"
    deadline_s: float = WAIT_S


class Service:
    """A fake engine behind the real HTTP."""

    def __init__(self, engine: FakeEngine, **limits: Any) -> None:
        self.engine = engine
        self.scripts = {
            "plain": Script(),
            "blocked": Script(blocks=True),
            "blocked-too": Script(blocks=True),
            "wrong": Script(error=bad_input()),
            "broken": Script(error=RuntimeError("inner words")),
        }
        router = APIRouter()

        @router.post("/v1/whole")
        async def whole(ask: _Ask, http: Request) -> dict[str, Any]:
            chunks = stream(engine, self.scripts[ask.script], http=http, deadline_s=ask.deadline_s)
            return {"chunks": [chunk async for chunk in chunks]}

        @router.post("/v1/streamed")
        async def parts(ask: _Ask, http: Request) -> Response:
            chunks = await primed(
                stream(engine, self.scripts[ask.script], http=http, deadline_s=ask.deadline_s)
            )
            return streamed((chunk.encode() async for chunk in chunks), "text/plain")

        self.app: FastAPI = create_app(engine, router, Settings(), **limits)


Serve = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serve]:
    async with contextlib.AsyncExitStack() as stack:

        async def start(service: Service) -> httpx.AsyncClient:
            listener = bind(tmp_path / "fake.sock")
            config = uvicorn.Config(service.app, log_config=None, access_log=False, lifespan="on")
            server = uvicorn.Server(config)
            task = asyncio.create_task(server._serve([listener]))

            async def stop() -> None:
                service.app.state.scheduler.close()
                server.should_exit = True
                await task

            stack.push_async_callback(stop)
            transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "fake.sock"))
            client = httpx.AsyncClient(transport=transport, base_url="http://fake", timeout=WAIT_S)
            await stack.enter_async_context(client)
            return client

        yield start


async def settled(client: httpx.AsyncClient) -> httpx.Response:
    """The first answer of /readyz that is not about loading."""
    answers: list[httpx.Response] = []

    async def loaded() -> bool:
        answers.append(await client.get("/readyz"))
        return bool(answers[-1].json()["state"] != "loading")

    await eventually(loaded)
    return answers[-1]


async def happened(event: Any) -> None:
    assert await asyncio.to_thread(event.wait, WAIT_S)


async def test_ready_only_after_the_sample(serving: Serve) -> None:
    engine = FakeEngine()
    engine.may_load.clear()
    client = await serving(Service(engine))
    loading = await client.get("/readyz")
    early = await client.post("/v1/whole", json={})
    engine.may_load.set()
    assert (loading.status_code, loading.json()["state"]) == (503, "loading")
    assert (early.status_code, early.headers["retry-after"]) == (503, "1")
    assert (await settled(client)).json() == {"ready": True, "state": "ready", "why": ""}
    assert (await client.get("/healthz")).status_code == 200


async def test_a_failed_load_leaves_the_reason(serving: Serve) -> None:
    client = await serving(Service(FakeEngine(load_error=bad_input())))
    answer = await settled(client)
    assert answer.status_code == 503
    assert answer.json() == {
        "ready": False, "state": "failed", "why": "The thing is wrong. Send another thing.",
    }  # fmt: skip
    refused = (await client.post("/v1/whole", json={})).json()["error"]
    assert refused["code"] == "not_ready"
    assert not refused["can_retry"]


async def test_answers_whole_and_streamed(serving: Serve) -> None:
    client = await serving(Service(FakeEngine()))
    await settled(client)
    whole = await client.post("/v1/whole", json={})
    parts = await client.post("/v1/streamed", json={})
    assert whole.json() == {"chunks": ["chunk 0", "chunk 1"]}
    assert parts.text == "chunk 0chunk 1"
    models = (await client.get("/v1/models")).json()
    assert [model["id"] for model in models["data"]] == ["fake-1"]


@pytest.mark.parametrize("path", ["/v1/whole", "/v1/streamed"])
@pytest.mark.parametrize(
    ("script", "status", "code"), [("wrong", 400, "bad_thing"), ("broken", 500, "engine_error")]
)
async def test_engine_errors_in_openais_shape(
    serving: Serve, path: str, script: str, status: int, code: str
) -> None:
    client = await serving(Service(FakeEngine()))
    await settled(client)
    answer = await client.post(path, json={"script": script})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert set(answer.json()["error"]) == {"message", "type", "code", "hint", "can_retry"}
    assert "inner words" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/whole", b"{", 400),
        ("POST", "/v1/whole", b'{"deadline_s": "soon"}', 400),
        ("POST", "/v1/whole", b"\xff\xfe", 400),
        ("GET", "/v1/nothing", b"", 404),
        ("GET", "/v1/whole", b"", 405),
        ("GET", "/docs", b"", 404),
        ("GET", "/openapi.json", b"", 404),
        ("GET", "/v1/models/other", b"", 404),
    ],
)
async def test_wrong_requests_in_openais_shape(
    serving: Serve, method: str, path: str, content: bytes, status: int
) -> None:
    client = await serving(Service(FakeEngine()))
    await settled(client)
    headers = {"Content-Type": "application/json"}
    answer = await client.request(method, path, content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_a_bug_of_ours_is_a_plain_500(
    serving: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    client = await serving(Service(FakeEngine()))
    await settled(client)
    answer = await client.post("/v1/whole", json={"script": "no such key"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert "no such key" not in answer.text + capsys.readouterr().out


async def test_who_hangs_up_in_the_middle_of_a_body_is_no_mistake_of_ours(
    capsys: pytest.CaptureFixture[str],
) -> None:
    service = Service(FakeEngine())

    @service.app.post("/v1/raw")
    async def raw(http: Request) -> Response:
        return Response(await http.body())

    parts: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/raw", "query_string": b"",
        "headers": [(b"content-length", b"100")],
    }  # fmt: skip
    await service.app(scope, receive, send)
    assert sent == []
    assert "unexpected" not in capsys.readouterr().out


async def test_unknown_priority_is_refused(serving: Serve) -> None:
    client = await serving(Service(FakeEngine()))
    await settled(client)
    answer = await client.post("/v1/whole", json={}, headers={"X-Earshot-Priority": "vip"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_priority")


async def test_bodies_over_the_limit(serving: Serve) -> None:
    client = await serving(Service(FakeEngine(), max_body_bytes=1000))
    await settled(client)

    async def unannounced() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    headers = {"Content-Type": "application/json"}
    for content in (b" " * 1001, unannounced()):
        answer = await client.post("/v1/whole", content=content, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("path", ["/v1/whole", "/v1/streamed"])
async def test_a_deadline_frees_client_and_worker(serving: Serve, path: str) -> None:
    service = Service(FakeEngine())
    client = await serving(service)
    await settled(client)
    answer = await client.post(path, json={"script": "blocked", "deadline_s": 0.05})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline")
    await happened(service.scripts["blocked"].ended)


@pytest.mark.parametrize("path", ["/v1/whole", "/v1/streamed"])
async def test_a_client_that_leaves_frees_the_worker(serving: Serve, path: str) -> None:
    service = Service(FakeEngine())
    client = await serving(service)
    await settled(client)
    asking = asyncio.create_task(client.post(path, json={"script": "blocked"}))
    await happened(service.scripts["blocked"].started)
    asking.cancel()
    await happened(service.scripts["blocked"].ended)
    assert (await client.post("/v1/whole", json={})).status_code == 200


async def test_a_client_that_leaves_while_waiting_is_never_served(serving: Serve) -> None:
    service = Service(FakeEngine())
    client = await serving(service)
    await settled(client)
    first = asyncio.create_task(client.post("/v1/whole", json={"script": "blocked"}))
    await happened(service.scripts["blocked"].started)
    second = asyncio.create_task(client.post("/v1/whole", json={"script": "blocked-too"}))
    scheduler = service.app.state.scheduler
    await asyncio.to_thread(until, lambda: scheduler.queued == 1)
    second.cancel()
    await asyncio.to_thread(until, lambda: scheduler.queued == 0)
    service.scripts["blocked"].go.set()
    assert (await first).status_code == 200
    assert service.scripts["blocked-too"] not in service.engine.order


async def test_speculative_requests_give_way_over_http(serving: Serve) -> None:
    service = Service(FakeEngine())
    client = await serving(service)
    await settled(client)
    headers = {"X-Earshot-Priority": "speculative"}
    lower = asyncio.create_task(
        client.post("/v1/streamed", json={"script": "blocked"}, headers=headers)
    )
    await happened(service.scripts["blocked"].started)
    assert (await client.post("/v1/whole", json={})).status_code == 200
    answer = await lower
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "superseded")


@pytest.mark.parametrize("raised", [True, False])
async def test_an_answer_begun_early_becomes_live(serving: Serve, raised: bool) -> None:
    service = Service(FakeEngine())
    client = await serving(service)
    await settled(client)
    headers = {"X-Earshot-Priority": "preemptive", "X-Earshot-Attempt": "abc"}
    early = asyncio.create_task(
        client.post("/v1/whole", json={"script": "blocked"}, headers=headers)
    )
    await happened(service.scripts["blocked"].started)
    told = await client.post(f"/v1/attempts/{'abc' if raised else 'another'}/live")
    assert (told.status_code, told.content) == (204, b"")
    service.scripts["blocked"].go.set()
    assert (await early).status_code == 200
    page = (await client.get("/metrics")).text
    priority = "live" if raised else "preemptive"
    assert f'earshot_requests_total{{priority="{priority}",result="ok",service="fake"}} 1.0' in page


async def test_metrics_count_by_result(serving: Serve) -> None:
    client = await serving(Service(FakeEngine()))
    await settled(client)
    await client.post("/v1/whole", json={})
    await client.post("/v1/whole", json={"script": "wrong"})
    await client.post("/v1/whole", content=b"{", headers={"Content-Type": "application/json"})
    page = (await client.get("/metrics")).text
    for line in (
        'earshot_requests_total{priority="live",result="ok",service="fake"} 1.0',
        'earshot_requests_total{priority="live",result="bad_input",service="fake"} 1.0',
        'earshot_requests_total{priority="none",result="bad_input",service="fake"} 1.0',
        'earshot_ready{service="fake"} 1.0',
        'earshot_queue_length{service="fake"} 0.0',
    ):
        assert line in page


def test_the_socket_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "run" / "x.sock"
    listener = bind(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with pytest.raises(ApplianceError, match="already serves"):
        bind(path)
    listener.close()
    bind(path).close()
