"""Hands a request on to a service and its answer back, piece by piece, held nowhere as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack

import httpx
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from appliance import logs
from appliance.errors import TooLarge
from appliance.serving.requests import ClientGone
from services.panel.access.principal import key_of
from services.panel.speech.services import LOWEST, Service, Services, away

log = logs.get(__name__)

# Literal lists: no header of the connection, of the sign-in or of our own passes either way.
_SENT_ON = ("content-type", "content-length", "accept")
_HANDED_BACK = ("content-type", "content-length", "retry-after")


async def relayed(http: Request, services: Services, service: Service, path: str) -> Response:
    """What the service answers to this request, whose body is handed on as it comes.

    Raises:
        NotReady: too much is asked at once, or the service does not answer.
        TooLarge: the body is over the service's limit.
        ClientGone: the client closed its connection before there was an answer.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(services.place(service, key_of(http)))
        body = _Body(http, services.body_bytes[service])
        headers = {name: http.headers[name] for name in _SENT_ON if name in http.headers}
        asked = services.client(service).build_request(
            "POST", path, headers={**headers, **LOWEST}, content=body.parts()
        )
        answer = await _answer(services, asked, body.left(), service)
        stack.push_async_callback(answer.aclose)
        return _Relayed(answer, stack.pop_all())


async def asked_instead(
    http: Request, services: Services, service: Service, path: str, content: bytes
) -> Response:
    """What the service answers to this JSON; the request's own body has been read.

    Raises:
        NotReady: too much is asked at once, or the service does not answer.
        ClientGone: the client closed its connection before there was an answer.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(services.place(service, key_of(http)))
        headers = {"Content-Type": "application/json", **LOWEST}
        asked = services.client(service).build_request(
            "POST", path, headers=headers, content=content
        )
        answer = await _answer(services, asked, _gone(http.receive), service)
        stack.push_async_callback(answer.aclose)
        return _Relayed(answer, stack.pop_all())


class _Body:
    """The request's body, counted on its way through."""

    def __init__(self, http: Request, most_bytes: int) -> None:
        self._http = http
        self._most = most_bytes
        self._whole = asyncio.Event()
        declared = http.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > most_bytes:
            raise self._too_large()

    async def parts(self) -> AsyncIterator[bytes]:
        """The body as it comes.

        Raises:
            TooLarge: it is over the limit.
            ClientGone: the client closed its connection in the middle of it.
        """
        size = 0
        try:
            async for part in self._http.stream():
                size += len(part)
                if size > self._most:
                    raise self._too_large()
                yield part
        except ClientDisconnect as error:
            raise ClientGone("client_gone", "The client closed the connection.") from error
        self._whole.set()

    async def left(self) -> None:
        """Return once the client has closed its connection after its body."""
        await self._whole.wait()
        await _gone(self._http.receive)

    def _too_large(self) -> TooLarge:
        return TooLarge(
            "body_too_large", f"The request is over {self._most >> 10} KiB.",
            "Send less at once, or raise the limit on the page Settings.",
        )  # fmt: skip


async def _answer(
    services: Services, asked: httpx.Request, left: Coroutine[None, None, None], service: Service
) -> httpx.Response:
    """The service's answer as far as its headers, unless the client leaves before."""
    sending = asyncio.create_task(services.client(service).send(asked, stream=True))
    leaving = asyncio.create_task(left)
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            raise ClientGone("client_gone", "The client closed the connection.")
        return sending.result()
    except httpx.HTTPError as error:
        log.info("service_away", service=service, error=type(error).__name__)
        raise away(service) from error
    finally:
        await _cancelled(sending, leaving)


class _Relayed(Response):
    """A service's answer on its way back. The service hears at once when nobody reads it any more."""

    def __init__(self, answer: httpx.Response, held: AsyncExitStack) -> None:
        self._answer = answer
        self._held = held
        super().__init__(status_code=answer.status_code)
        self.raw_headers = [
            (name.encode(), answer.headers[name].encode("latin-1"))
            for name in _HANDED_BACK
            if name in answer.headers
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        relaying = asyncio.create_task(self._relay(send))
        leaving = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({relaying, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if relaying.done():
                relaying.result()
        except httpx.HTTPError as error:
            # Too late for a status: the answer stays visibly incomplete.
            log.warning("answer_broken_off", path=scope["path"], error=type(error).__name__)
        finally:
            await _cancelled(relaying, leaving)
            await self._held.aclose()

    async def _relay(self, send: Send) -> None:
        await send(
            {
                "type": "http.response.start", "status": self.status_code,
                "headers": self.raw_headers,
            }
        )  # fmt: skip
        async for part in self._answer.aiter_raw():
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancelled(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
