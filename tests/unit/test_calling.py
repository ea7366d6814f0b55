"""The synthetic caller takes what comes whole, and nothing of what breaks off."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, cast

import numpy as np
import pytest
from livekit import rtc

from appliance.calling import Caller
from appliance.headset import Clip

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


def test_a_sound_without_a_turn_is_timed_and_is_no_answer() -> None:
    async def report() -> tuple[int | None, bool]:
        caller = Caller("http://127.0.0.1:1")
        caller.ear.times, caller.ear.loudness = [9.0, 10.5, 12.0], [0.1, 0.0, 0.1]
        clip = Clip("q", np.zeros(480, np.float32), 0.0, 0.01)
        found = caller._report(clip, [], 10.0)
        await caller.leave()
        return found.ms["at_ear"], found.complete

    assert asyncio.run(report()) == (2000, False)
