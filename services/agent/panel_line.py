"""The open line to the panel: while it holds, the panel knows that this call has its agent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from appliance import logs

log = logs.get(__name__)

_RETRY_S = 0.3
_GOODBYE_S = 3.0


class PanelLine:
    """One stream per call, opened again for ever; a missing panel is no failure of the call.

    Args:
        socket: the panel's unix socket.
        session_id: the call.
        identity: this agent's identity in the room.
        pid: this process.
    """

    def __init__(self, socket: Path, session_id: str, identity: str, pid: int) -> None:
        self._socket = socket
        self._session_id = session_id
        self._hello = {"type": "hello", "pid": pid, "identity": identity}
        self._goodbye: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold(), name="panel_line.hold")

    async def goodbye(self, state: str, reason: str) -> None:
        """Say how the call ended and hang up; gives up after a few seconds."""
        if not self._goodbye.done():
            self._goodbye.set_result({"type": "goodbye", "state": state, "reason": reason})
        await asyncio.wait([self._task], timeout=_GOODBYE_S)
        await self.drop()

    async def drop(self) -> None:
        """Hang up without a word."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _hold(self) -> None:
        url = f"http://panel/internal/v1/jobs/{self._session_id}"
        connector = aiohttp.UnixConnector(str(self._socket))
        timeout = aiohttp.ClientTimeout(total=None, connect=2.0)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, trust_env=False
        ) as client:
            while True:
                try:
                    async with client.post(url, data=self._lines()) as answer:
                        if answer.ok and self._goodbye.done():
                            return
                        log.warning("panel_line_refused", status=answer.status)
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    log.info("panel_line_down", error=type(error).__name__)
                await asyncio.sleep(_RETRY_S)

    async def _lines(self) -> AsyncIterator[bytes]:
        yield _line(self._hello)
        # Shielded: a broken stream must not take the goodbye from the next one.
        yield _line(await asyncio.shield(self._goodbye))


def _line(message: dict[str, object] | dict[str, str]) -> bytes:
    return json.dumps(message).encode() + b"\n"
