"""The same synthetic caller in a room of the stock agent, which tells nothing of its turns."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from typing import Any

import aiohttp
from livekit import api, rtc

from appliance.calling import Caller, TurnReport
from appliance.errors import TimedOut
from appliance.headset import Clip
from appliance.secrets import LiveKitKeys
from bench.stock.config import AGENT_NAME

_EMPTY_S = 30
_GREETING_S = 30.0
_SEGMENT = "lk.segment_id"


class Words:
    """What one of the two said: of each segment the text that was sent last.

    A segment is sent whole each time more of it is known, and once more when it is final.
    """

    def __init__(self) -> None:
        self._segments: dict[str, tuple[int, str]] = {}

    def put(self, segment: str, number: int, text: str) -> None:
        """Keep a text, unless one with a higher number is known of its segment."""
        if number >= self._segments.get(segment, (0, ""))[0]:
            self._segments[segment] = (number, text)

    def take(self) -> str:
        """All of it, which is then forgotten."""
        text = " ".join(text for _number, text in self._segments.values())
        self._segments.clear()
        return text


class StockCaller(Caller):
    """What it hears is all that is known: its times are those at the ear.

    Args:
        url: of the media server, ``ws://``.
        keys: what makes rooms there.
        is_greeted: whether the agent begins with a greeting.
    """

    def __init__(self, url: str, keys: LiveKitKeys, *, is_greeted: bool = True) -> None:
        super().__init__(url.replace("ws", "http", 1))
        self._url = url
        self._keys = keys
        self._is_greeted = is_greeted
        self._heard, self._answered_words = Words(), Words()
        self._texts = itertools.count(1)

    async def _admitted(self) -> tuple[str, str]:
        self.session_id = f"stock-{uuid.uuid4().hex[:12]}"
        async with self._livekit() as livekit:
            dispatch = api.RoomAgentDispatch(agent_name=AGENT_NAME)
            await livekit.room.create_room(
                api.CreateRoomRequest(
                    name=self.session_id, empty_timeout=_EMPTY_S, agents=[dispatch]
                )
            )
        token = api.AccessToken(self._keys.api_key, self._keys.api_secret)
        token = token.with_identity("caller").with_grants(
            api.VideoGrants(room_join=True, room=self.session_id)
        )
        return self._url, token.to_jwt()

    async def _agent_again(self) -> None:
        async with self._livekit() as livekit:
            await livekit.agent_dispatch.create_dispatch(
                api.CreateAgentDispatchRequest(agent_name=AGENT_NAME, room=self.session_id)
            )

    async def greeting(self) -> float | None:
        """Wait until the greeting is over: it listens before its greeting's sound is made.

        Raises:
            TimedOut: it did not greet, or did not end.
        """
        if not self._is_greeted:
            return await super().greeting()
        heard = await self.until(lambda: self.ear.first_loud(self.joined_at), _GREETING_S)
        if not heard or not await self.until(self._quiet, _GREETING_S):
            raise TimedOut(
                "no_greeting", "The stock agent did not greet in time.", can_retry=True
            )  # fmt: skip
        self._answered_words.take()
        return self.ear.first_loud(self.joined_at)

    async def end(self) -> str:
        """Close the room, so that its process ends."""
        try:
            async with self._livekit() as livekit:
                await livekit.room.delete_room(api.DeleteRoomRequest(room=self.session_id))
        finally:
            await self.leave()
        return "completed"

    def _livekit(self) -> api.LiveKitAPI:
        http = self._url.replace("ws", "http", 1)
        timeout = aiohttp.ClientTimeout(total=10)
        return api.LiveKitAPI(
            http, self._keys.api_key, self._keys.api_secret, timeout=timeout, failover=False
        )

    def _listen(self) -> None:
        super()._listen()
        self.room.unregister_text_stream_handler("lk.transcription")
        self.room.register_text_stream_handler("lk.transcription", self._words)

    def _words(self, reader: rtc.TextStreamReader, sender: str) -> None:
        # The texts may be read to their ends in another order than they came in.
        number = next(self._texts)
        segment = (reader.info.attributes or {}).get(_SEGMENT, f"{number}")

        async def read() -> None:
            try:
                text = await reader.read_all()
            except rtc.StreamError:
                # The room was closed while it was sent.
                return
            into = self._answered_words if sender.startswith("agent-") else self._heard
            into.put(segment, number, text)

        task = asyncio.create_task(read())
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)

    def _answered(self, before: int, last_voiced: float) -> bool:
        del before
        return self._quiet() and self.ear.first_loud(last_voiced) is not None

    def _report(self, clip: Clip, turns: list[dict[str, Any]], last_voiced: float) -> TurnReport:
        del turns
        report = TurnReport(clip.name, self._heard.take(), self._answered_words.take())
        # It has no apologies: a sound without words is none of its answers.
        if report.answered:
            report.ms["at_ear"] = self._heard_ms(last_voiced, last_voiced)
        return report
