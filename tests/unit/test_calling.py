"""The synthetic caller takes what comes whole, and nothing of what breaks off."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, cast

import pytest
from livekit import rtc

from appliance.calling import Caller

pytestmark = pytest.mark.unit


class _Piece:
    """A text stream: whole, or broken off by its sender's death."""

    def __init__(self, text: str | None) -> None:
        self._text = text

    async def read_all(self) -> str:
        if self._text is None:
            raise rtc.StreamError("the sender left")
        return self._text


def test_a_piece_that_breaks_off_is_dropped_without_an_unhandled_error() -> None:
    unhandled: list[dict[str, Any]] = []

    async def take() -> list[dict[str, Any]]:
        asyncio.get_running_loop().set_exception_handler(lambda _, said: unhandled.append(said))
        caller = Caller("http://127.0.0.1:1")
        handler = caller._collect(caller.turns)
        for text in ('{"n": 1}', None, '{"n": 2}'):
            handler(cast(rtc.TextStreamReader, _Piece(text)), "agent-1")
        # Unlike gather, this leaves a failure unretrieved.
        await asyncio.wait(caller._readers)
        gc.collect()
        await caller.leave()
        return caller.turns

    assert asyncio.run(take()) == [{"n": 1}, {"n": 2}]
    assert not unhandled
