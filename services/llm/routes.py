"""``POST /v1/chat/completions``, as OpenAI's clients call it."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from starlette.responses import JSONResponse, Response

from appliance.errors import ApplianceError, NotFound
from appliance.serving import APIRouter, Request, primed, rank_of, stream, streamed
from appliance.serving.app import error_body
from appliance.serving.requests import SESSION_HEADER
from services.llm.body import ChatBody
from services.llm.engine import LlamaEngine
from services.llm.vocabulary import Finished, Words

DEADLINE_S = 120.0
_MOST_SESSION_CHARS = 200

_RESIDENT = ("", "default", "local")


def create_router(engine: LlamaEngine) -> APIRouter:
    """The language model's routes."""
    router = APIRouter()

    @router.post("/v1/chat/completions")
    async def complete(body: ChatBody, http: Request) -> Response:
        if body.model not in (*_RESIDENT, engine.model_id):
            raise NotFound(
                "model_not_found", "This language model is not the one that is loaded.",
                f"Ask for {engine.model_id!r}, or for 'default'.",
            )  # fmt: skip
        session = http.headers.get(SESSION_HEADER, "")[:_MOST_SESSION_CHARS]
        request = replace(body.chat(), session=session, rank=rank_of(http))
        chunks = stream(engine, request, http=http, deadline_s=DEADLINE_S, rank=request.rank)
        reply = _Reply(engine.model_id)
        if body.stream:
            usage = body.stream_options is not None and body.stream_options.include_usage
            return streamed(reply.events(await primed(chunks), usage), "text/event-stream")
        return JSONResponse(await reply.whole(chunks))

    return router


class _Reply:
    """One answer in OpenAI's words."""

    def __init__(self, model_id: str) -> None:
        self._common = {
            "id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model_id,
            "system_fingerprint": None,
        }  # fmt: skip

    async def whole(self, chunks: AsyncIterator[Words | Finished]) -> dict[str, Any]:
        text, end = "", None
        async for chunk in chunks:
            if isinstance(chunk, Words):
                text += chunk.text
            else:
                end = chunk
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {
            "index": 0, "message": message, "finish_reason": end.reason if end else "stop",
            "logprobs": None,
        }  # fmt: skip
        usage = _usage(end) if end else None
        return {**self._common, "object": "chat.completion", "choices": [choice], "usage": usage}

    async def events(
        self, chunks: AsyncIterator[Words | Finished], usage: bool
    ) -> AsyncIterator[bytes]:
        yield self._event([_choice({"role": "assistant", "content": ""})], usage)
        try:
            async for chunk in chunks:
                if isinstance(chunk, Words):
                    yield self._event([_choice({"content": chunk.text})], usage)
                    continue
                yield self._event([_choice({}, chunk.reason)], usage)
                if usage:
                    yield self._event([], usage, chunk)
        except ApplianceError as error:
            # The status is sent already; OpenAI's clients raise on an event of this shape.
            yield _line(error_body(error))
            return
        yield b"data: [DONE]\n\n"

    def _event(
        self, choices: list[dict[str, Any]], usage: bool, end: Finished | None = None
    ) -> bytes:
        event: dict[str, Any] = {
            **self._common, "object": "chat.completion.chunk", "choices": choices,
        }  # fmt: skip
        if usage:
            event["usage"] = _usage(end) if end else None
        return _line(event)


def _line(event: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


def _choice(delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}


def _usage(end: Finished) -> dict[str, Any]:
    return {
        "prompt_tokens": end.prompt_tokens,
        "completion_tokens": end.completion_tokens,
        "total_tokens": end.prompt_tokens + end.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": end.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": end.thought_tokens},
    }
