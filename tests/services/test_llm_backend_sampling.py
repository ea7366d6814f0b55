"""Tokens chosen in llama.cpp's graph: the same answers as when numpy looks through all of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.services.conftest import ServiceFactory
from tests.services.test_llm import CAPITAL, STORY, chat, said

pytestmark = pytest.mark.services

HOW: tuple[dict[str, Any], ...] = (
    {},
    {"temperature": 0.8, "seed": 7},
    {"temperature": 1.5, "seed": 7, "top_k": 1000},
    {"temperature": 0.8, "seed": 7, "top_p": 0.9, "repeat_penalty": 1.1},
    {"frequency_penalty": 1.0},
)


def test_answers_are_the_same(service: ServiceFactory) -> None:
    found = []
    for where in ("off", "on"):
        llm = service("llm", env={"APPLIANCE_LLM__BACKEND_SAMPLING": where})
        found.append([said(chat(llm, talk, **how)) for talk in (CAPITAL, STORY) for how in HOW])
        llm.stop()
    assert found[0] == found[1]
