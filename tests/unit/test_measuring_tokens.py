"""How many tokens a second a server makes: of the words, not of a thought before them."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from appliance.measuring.tokens import rate

pytestmark = pytest.mark.unit


def _llm(text: str) -> Callable[[], httpx.AsyncClient]:
    def make() -> httpx.AsyncClient:
        transport = httpx.MockTransport(lambda _request: httpx.Response(200, text=text))
        return httpx.AsyncClient(transport=transport, base_url="http://llm")

    return make


async def test_tokens_are_counted_by_the_server_and_timed_here() -> None:
    chunks = [{"choices": [{"delta": {"content": word}}]} for word in ("a", "b")]
    chunks.append({"choices": [], "usage": {"completion_tokens": 64}})  # type: ignore[dict-item]
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    found = await rate(_llm(text), 2)
    assert found is not None
    assert found["streams"] == 2
    assert found["tokens_per_s"] > 0
    assert found["first_token_ms"]["n"] == 2


@pytest.mark.parametrize(
    ("field", "details", "rate_per_s"),
    [
        # Of 64 tokens 60 were a thought, and the first of the other four came with the prompt.
        ("content", {"reasoning_tokens": 60}, 3.0),
        ("reasoning_content", {"reasoning_tokens": 60}, 3.0),
        ("content", {"reasoning_tokens": 0}, 63.0),
        ("content", None, 63.0),
        ("reasoning_content", None, None),
        ("reasoning", {"reasoning_tokens": 0}, None),
    ],
)
async def test_a_thought_is_not_counted_as_words(
    monkeypatch: pytest.MonkeyPatch,
    field: str,
    details: dict[str, int] | None,
    rate_per_s: float | None,
) -> None:
    clock = SimpleNamespace(monotonic=count().__next__)
    monkeypatch.setattr("appliance.measuring.tokens.time", clock)
    begun = {"content": ""} if field == "content" else {field: "Hm."}
    deltas = [begun, {"content": "a"}, {"content": "b"}]
    chunks: list[dict[str, Any]] = [{"choices": [{"delta": delta}]} for delta in deltas]
    usage = {"completion_tokens": 64, "completion_tokens_details": details}
    chunks.append({"choices": [], "usage": usage})
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    found = await rate(_llm(text), 1)
    assert found is not None
    assert found["tokens_per_s"] == rate_per_s
    assert found["first_token_ms"]["n"] == 1
