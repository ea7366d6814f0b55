"""Speech as server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from appliance.errors import NotReady
from services.tts import routes

pytestmark = pytest.mark.unit


async def test_an_error_after_the_first_sound_is_told_as_an_event() -> None:
    async def breaking_off() -> AsyncIterator[bytes]:
        yield b"sound"
        raise NotReady("timed_out", "The voice took too long.")

    sent = [event async for event in routes._events(breaking_off())]
    first, last = (json.loads(event.removeprefix(b"data: ")) for event in sent)
    assert first == {"type": "speech.audio.delta", "audio": "c291bmQ="}
    assert last["error"]["code"] == "timed_out"
