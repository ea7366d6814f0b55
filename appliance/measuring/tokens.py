"""How many tokens a second a language model makes for several streams at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from appliance import logs
from appliance.measuring.figures import summary

log = logs.get(__name__)

_TOKENS = 64
_DEADLINE_S = 180.0
_ASKED = "Describe a walk along a river in spring, from the morning to the evening."


@dataclass(frozen=True)
class Stream:
    """One answer: seconds of CLOCK_MONOTONIC, and the tokens that the server counted."""

    asked: float
    first: float
    last: float
    tokens: int


async def rate(
    make: Callable[[], httpx.AsyncClient], streams: int, model: str = "default"
) -> dict[str, Any] | None:
    """Ask for ``streams`` answers at once, after one that warms the prompt.

    Returns:
        ``streams``, ``tokens_per_s`` of all together while they ran, and the time to the
        ``first_token_ms`` of each; None where the server does not answer as it should.
    """
    try:
        async with make() as http:
            await _answer(http, model, 0, 4)
            answers = await asyncio.gather(
                *(_answer(http, model, n, _TOKENS) for n in range(streams))
            )
    except (httpx.HTTPError, ValueError, KeyError, TypeError, IndexError) as error:
        log.warning("tokens_not_measured", error=type(error).__name__)
        return None
    began = min(one.first for one in answers)
    took_s = max(one.last for one in answers) - began
    # The first token of each came with its prompt.
    tokens = sum(one.tokens - 1 for one in answers)
    return {
        "streams": streams,
        "tokens_per_s": round(tokens / took_s, 1) if took_s > 0 else None,
        "first_token_ms": summary(round((one.first - one.asked) * 1000) for one in answers),
    }


async def _answer(http: httpx.AsyncClient, model: str, number: int, tokens: int) -> Stream:
    body = {
        "messages": [{"role": "user", "content": _ASKED}], "model": model, "stream": True,
        "stream_options": {"include_usage": True}, "max_tokens": tokens, "temperature": 0,
    }  # fmt: skip
    headers = {"X-Earshot-Session": f"bench-{number}"}
    asked = time.monotonic()
    moments: list[float] = []
    made = 0
    async with http.stream(
        "POST", "/v1/chat/completions", json=body, headers=headers, timeout=_DEADLINE_S
    ) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            if any(choice.get("delta", {}).get("content") for choice in event["choices"]):
                moments.append(time.monotonic())
            if usage := event.get("usage"):
                made = int(usage["completion_tokens"])
    return Stream(asked, moments[0], moments[-1], made)
