"""The same synthetic caller in a room of the stock agent, which tells nothing of its turns."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import aiohttp
from livekit import api, rtc

from appliance.calling import Caller, TurnReport
from appliance.headset import Clip
from appliance.secrets import LiveKitKeys
from bench.stock.config import AGENT_NAME

_EMPTY_S = 30


class StockCaller(Caller):
    """What it hears is all that is known: its times are those at the ear.

    Args:
        url: of the media server, ``ws://``.
        keys: what makes rooms there.
    """

    def __init__(self, url: str, keys: LiveKitKeys) -> None:
        super().__init__(url.replace("ws", "http", 1))
        self._url = url
        self._keys = keys
        self._heard: list[str] = []
        self._answered_words: list[str] = []

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
        async def read() -> None:
            try:
                text = await reader.read_all()
            except rtc.StreamError:
                # The room was closed while it was sent.
                return
            into = self._answered_words if sender.startswith("agent-") else self._heard
            into.append(text)

        task = asyncio.create_task(read())
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)

    def _answered(self, before: int, last_voiced: float) -> bool:
        del before
        return self._quiet() and self.ear.first_loud(last_voiced) is not None

    def _report(self, clip: Clip, turns: list[dict[str, Any]], last_voiced: float) -> TurnReport:
        del turns
        heard, answered = " ".join(self._heard), " ".join(self._answered_words)
        self._heard, self._answered_words = [], []
        report = TurnReport(clip.name, heard, answered)
        at_ear = self.ear.first_loud(last_voiced)
        report.ms["at_ear"] = round((at_ear - last_voiced) * 1000) if at_ear else None
        return report
