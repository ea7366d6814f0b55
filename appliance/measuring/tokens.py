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
# Where servers send a thought beside the words.
_THOUGHTS = ("reasoning_content", "reasoning")
_ASKED = "Describe a walk along a river in spring, from the morning to the evening."


@dataclass(frozen=True)
class Stream:
    """One answer: seconds of CLOCK_MONOTONIC, and the tokens that the server counted.

    ``tokens`` are those of the words that came: a thought is made before the first of them. None
    where the server thought and does not say how long.
    """

    asked: float
    first: float
    last: float
    tokens: int | None


async def rate(
    make: Callable[[], httpx.AsyncClient], streams: int, model: str = "default"
) -> dict[str, Any] | None:
    """Ask for ``streams`` answers at once, after one that warms the prompt.

    Returns:
        ``streams``, ``tokens_per_s`` of all together while they ran, and the time to the
        ``first_token_ms`` of each; None where the server does not answer as it should.
        ``tokens_per_s`` is None where it is not known how many tokens the words were.
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
    made = [one.tokens - 1 for one in answers if one.tokens is not None]
    is_known = len(made) == len(answers) and took_s > 0
    return {
        "streams": streams,
        "tokens_per_s": round(sum(made) / took_s, 1) if is_known else None,
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
    thought = False
    made: int | None = None
    async with http.stream(
        "POST", "/v1/chat/completions", json=body, headers=headers, timeout=_DEADLINE_S
    ) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            deltas = [choice.get("delta", {}) for choice in event["choices"]]
            if any(delta.get("content") for delta in deltas):
                moments.append(time.monotonic())
            thought = thought or any(delta.get(name) for delta in deltas for name in _THOUGHTS)
            if usage := event.get("usage"):
                made = _visible(usage, thought)
    return Stream(asked, moments[0], moments[-1], made)


def _visible(usage: dict[str, Any], thought: bool) -> int | None:
    """Tokens of the words alone; None where there was a thought that the server did not count."""
    hidden = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
    if thought and not hidden:
        return None
    return int(usage["completion_tokens"]) - int(hidden or 0)
