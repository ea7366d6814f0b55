"""A model service as the agent reaches it: a unix socket, or an address from the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
from livekit.agents import APIConnectionError, APIStatusError, APITimeoutError

from appliance.catalogue.entries import Task
from appliance.elsewhere import Place, bearer, root
from appliance.settings import Settings
from services.agent.patience import Patience
from services.agent.rank import LIVE, Rank

SESSION_HEADER = "X-Earshot-Session"
_CONNECT_S = 2.0
_SUPERSEDED = 409


class SupersededWork(Exception):
    """The service gave up lower work for live work. Nothing is wrong."""


class Upstream:
    """One model service of one call."""

    def __init__(
        self,
        base_url: str,
        socket: str | None,
        session_id: str,
        ready: Callable[[], Awaitable[None]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._base_url = base_url
        self._ready = ready
        self._socket = socket
        self._headers = {SESSION_HEADER: session_id, **(headers or {})}
        self._client: aiohttp.ClientSession | None = None

    @classmethod
    def of(cls, program: Task, settings: Settings, session_id: str) -> Upstream:
        """The service the settings name: the box's own socket unless there is an address."""
        place: Place = getattr(settings, program)
        if place.url:
            return cls(root(place), None, session_id, headers=bearer(place))
        patience = Patience(settings)
        return cls(
            f"http://{program}", str(settings.socket(program)), session_id,
            lambda: patience.wait(program),
        )  # fmt: skip

    @asynccontextmanager
    async def post(
        self, path: str, *, rank: Rank, silence_s: float, **request: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and yield the answer, its status checked.

        Waits first while the service's model is being changed.

        Args:
            path: e.g. ``/v1/audio/speech``.
            rank: whether someone waits for the answer.
            silence_s: longest wait for the next byte, in seconds.
            request: what ``aiohttp`` takes: ``json`` or ``data``.

        Raises:
            SupersededWork: 409 on work that was not live.
            APIError: anything else that is not an answer, also while the answer is read.
        """
        if self._ready is not None:
            await self._ready()
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_S, sock_read=silence_s)
        headers = {**self._headers, **rank.headers()}
        with _translated():
            async with self._connected().post(
                self._base_url + path, headers=headers, timeout=timeout, **request
            ) as answer:
                if answer.status == _SUPERSEDED and rank.priority != "live":
                    raise SupersededWork
                answer.raise_for_status()
                yield answer

    async def tell(self, path: str, *, silence_s: float) -> None:
        """Send a request without a body whose answer says nothing.

        Raises:
            APIError: it was not taken.
        """
        async with self.post(path, rank=LIVE, silence_s=silence_s):
            pass

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    def _connected(self) -> aiohttp.ClientSession:
        if self._client is None or self._client.closed:
            connector = aiohttp.UnixConnector(self._socket) if self._socket else None
            self._client = aiohttp.ClientSession(connector=connector, trust_env=False)
        return self._client


@contextmanager
def _translated() -> Iterator[None]:
    """livekit-agents goes deaf for ever on any exception of a transcript but its own kinds."""
    try:
        yield
    except aiohttp.ClientResponseError as error:
        raise APIStatusError(f"status {error.status}", status_code=error.status) from error
    except TimeoutError as error:
        raise APITimeoutError("the service did not answer in time") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise APIConnectionError(f"the service is away: {type(error).__name__}") from error
