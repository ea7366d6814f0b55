"""The HTTP around an engine: readiness, metrics, limits, and errors in OpenAI's shape."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance import logs
from appliance.errors import ApplianceError, BadInput, NotFound, NotReady, TimedOut, TooLarge
from appliance.serving.engine import Chunk, Engine, Req
from appliance.serving.metrics import Metrics
from appliance.serving.scheduler import Scheduler, State, described
from appliance.settings import Settings

log = logs.get(__name__)

RETRY_AFTER_S = 1
DEFAULT_BODY_BYTES = 4 << 20
BODY_PAUSE_S = 30.0
"""Longest silence of a client in the middle of its body."""


def create_app(
    engine: Engine[Req, Chunk],
    router: APIRouter,
    settings: Settings,
    *,
    max_body_bytes: int = DEFAULT_BODY_BYTES,
) -> FastAPI:
    """A service around an engine. The model is loaded when the app starts."""
    engine.scheduler = Scheduler(engine)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        engine.scheduler.start()
        yield
        engine.scheduler.close()

    # FastAPI's documentation pages load scripts from a CDN.
    app = FastAPI(
        title=f"Earshot {engine.name}", lifespan=lifespan, docs_url=None, redoc_url=None,
        openapi_url=None,
    )  # fmt: skip
    app.state.settings = settings
    app.state.scheduler = engine.scheduler
    app.state.metrics = Metrics(engine)
    app.include_router(router)
    app.include_router(_common(engine))
    app.exception_handler(ApplianceError)(_applied)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http)
    app.add_middleware(_Guard, max_body_bytes=max_body_bytes)
    return app


def _common(engine: Engine[Req, Chunk]) -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        scheduler = engine.scheduler
        # Once: the engine's thread may change it meanwhile.
        state = scheduler.state
        ready = state is State.READY
        body = {"ready": ready, "state": state.value, "why": scheduler.why}
        return JSONResponse(body, 200 if ready else 503)

    @router.get("/metrics")
    async def metrics(http: Request) -> Response:
        page: bytes = http.app.state.metrics.page()
        return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")

    @router.post("/v1/attempts/{attempt}/live", status_code=204)
    async def live(attempt: str) -> None:
        engine.scheduler.raise_attempt(attempt)

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(name) for name in engine.models()]}

    @router.get("/v1/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        if name not in engine.models():
            raise NotFound(
                "model_not_found", "There is no such model here.",
                "GET /v1/models lists what is served.",
            )  # fmt: skip
        return _model(name)

    return router


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "earshot"}


def error_body(error: ApplianceError) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    kind = "invalid_request_error" if error.http_status < 500 else "server_error"
    return {
        "error": {
            "message": error.message, "type": kind, "code": error.code, "hint": error.hint,
            "can_retry": error.can_retry,
        }
    }  # fmt: skip


def _answer(error: ApplianceError, http_status: int | None = None) -> JSONResponse:
    headers = {"Retry-After": str(RETRY_AFTER_S)} if isinstance(error, NotReady) else None
    return JSONResponse(error_body(error), http_status or error.http_status, headers)


def _counted(http: Request, error: ApplianceError) -> None:
    if not getattr(http.state, "counted", False):
        http.app.state.metrics.refused(error)


async def _applied(http: Request, error: ApplianceError) -> Response:
    _counted(http, error)
    return _answer(error)


async def _invalid(http: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
    # pydantic's sentence about a value of our own type; the value itself is not in it.
    told = BadInput("invalid_request", f"{where}: {first['msg']}.", "docs/api.md has the fields.")
    _counted(http, told)
    return _answer(told)


async def _http(http: Request, error: HTTPException) -> Response:
    told = {
        404: NotFound("no_such_path", "There is nothing at this path."),
        405: BadInput("wrong_method", "This path does not take this method."),
        408: TimedOut("body_stalled", "The request's body did not arrive in time."),
        413: TooLarge("body_too_large", "The request is larger than this service takes."),
    }.get(error.status_code, BadInput("invalid_request", "The request could not be read."))
    _counted(http, told)
    return _answer(told, error.status_code)


class _Guard:
    """Counts a body while it is read, and turns what nobody caught into a plain 500."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        received, whole, begun = 0, False, False

        async def limited() -> Message:
            nonlocal received, whole
            if whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), BODY_PAUSE_S)
            except TimeoutError:
                raise HTTPException(408) from None
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if received > self.max_body_bytes:
                    raise HTTPException(413)
            return message

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            if _announced(scope) > self.max_body_bytes:
                response = await _http(Request(scope), HTTPException(413))
                await response(scope, limited, noted)
            else:
                await self.app(scope, limited, noted)
        except ClientDisconnect:
            # Gone in the middle of its body: nobody reads an answer, and nothing is broken.
            log.debug("client_gone", path=scope["path"])
        except Exception as error:  # noqa: BLE001  the last catch: kind and place are logged
            log.error("unexpected", path=scope["path"], **described(error))
            if not begun:
                told = ApplianceError(
                    "internal", "Something unexpected went wrong.", "See the logs."
                )
                await _answer(told)(scope, receive, send)


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
