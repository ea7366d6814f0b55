"""Where stt, llm and tts are: the box's own sockets, or the addresses of the settings."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import httpx

from appliance import logs
from appliance.elsewhere import Place, bearer, root
from appliance.errors import NotReady
from appliance.serving.requests import PRIORITY_HEADER
from appliance.settings import Settings

Service = Literal["stt", "llm", "tts"]
SERVICES: tuple[Service, ...] = ("stt", "llm", "tts")

log = logs.get(__name__)

_MIB = 1 << 20
_FORM_BYTES = 64 << 10
_CONNECT_S = 3.0
# The services end what takes too long themselves; this is for a server of somebody else's.
_LONGEST_SILENCE_S = 3600.0
_MODELS_WITHIN_S = 3.0
# A recording lies in the ear's folder while it waits; so few that the disk stays the calls' own.
_AT_ONCE: dict[Service, int] = {"stt": 4, "llm": 12, "tts": 12}
# The rest is for the owner's own trials; a key that never ends its bodies stops neither these nor
# another key.
_OF_ALL_KEYS: dict[Service, int] = {"stt": 3, "llm": 10, "tts": 10}
_OF_ONE_KEY: dict[Service, int] = {"stt": 2, "llm": 8, "tts": 8}
LOWEST = {PRIORITY_HEADER: "background"}
"""Callers' work goes before all of this, and none of it is lost for that."""


class Services:
    """The clients of the three services; made in the panel's loop, closed with it."""

    def __init__(self, settings: Settings) -> None:
        self._clients = {name: _client(settings, name) for name in SERVICES}
        self._asked: dict[Service, int] = dict.fromkeys(SERVICES, 0)
        self._by_keys: dict[Service, Counter[str]] = {name: Counter() for name in SERVICES}
        # As the services count for themselves; a character of JSON takes up to 12 bytes.
        self.body_bytes: dict[Service, int] = {
            "stt": settings.stt.max_upload_mb * _MIB + _FORM_BYTES,
            "llm": 4 * _MIB,
            "tts": settings.tts.max_chars * 12 + _FORM_BYTES,
        }

    def client(self, service: Service) -> httpx.AsyncClient:
        """How to ask this service."""
        return self._clients[service]

    @contextmanager
    def place(self, service: Service, key_id: str = "") -> Iterator[None]:
        """Count one request that is under way.

        Args:
            service: whom it asks.
            key_id: of the program that asks; empty for the owner and the box itself.

        Raises:
            NotReady: there are too many (``busy``).
        """
        by_keys = self._by_keys[service]
        full = self._asked[service] >= _AT_ONCE[service] or (
            key_id != ""
            and (
                by_keys[key_id] >= _OF_ONE_KEY[service] or by_keys.total() >= _OF_ALL_KEYS[service]
            )
        )
        if full:
            raise NotReady(
                "busy", "Too many requests of other programs are under way.",
                "Ask again in a moment.", can_retry=True,
            )  # fmt: skip
        self._asked[service] += 1
        if key_id:
            by_keys[key_id] += 1
        try:
            yield
        finally:
            self._asked[service] -= 1
            if key_id:
                by_keys[key_id] -= 1
                if not by_keys[key_id]:
                    del by_keys[key_id]

    async def models(self) -> list[dict[str, Any]]:
        """What the three of them serve, each with its task; one that is away is left out.

        Raises:
            NotReady: all of them are away.
        """
        found = await asyncio.gather(*(self._models_of(service) for service in SERVICES))
        if all(models is None for models in found):
            raise away("llm")
        unique = {model["id"]: model for models in found for model in models or ()}
        return list(unique.values())

    async def _models_of(self, service: Service) -> list[dict[str, Any]] | None:
        try:
            answer = await self._clients[service].get("/v1/models", timeout=_MODELS_WITHIN_S)
            answer.raise_for_status()
            listed = answer.json()["data"]
            return [
                {
                    "id": str(model["id"]), "object": "model", "created": 0,
                    "owned_by": str(model.get("owned_by") or "earshot"), "task": service,
                }
                for model in listed
            ]  # fmt: skip
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.info("models_not_listed", service=service, error=type(error).__name__)
            return None

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.aclose()


def away(service: Service) -> NotReady:
    """The error for a service that does not answer."""
    part = {"stt": "The ear", "llm": "The language model", "tts": "The voice"}[service]
    return NotReady(
        "not_ready", f"{part} ({service}) does not answer.",
        "Try again in a few seconds; the page Home says what is wrong.", can_retry=True,
    )  # fmt: skip


def _client(settings: Settings, service: Service) -> httpx.AsyncClient:
    place: Place = getattr(settings, service)
    # A unix socket shows no certificate; reading the authorities takes a while.
    transport = (
        None
        if place.url
        else httpx.AsyncHTTPTransport(uds=str(settings.socket(service)), verify=False)
    )
    return httpx.AsyncClient(
        base_url=root(place) or f"http://{service}",
        transport=transport,
        trust_env=False,
        timeout=httpx.Timeout(60.0, connect=_CONNECT_S, read=_LONGEST_SILENCE_S),
        headers={"Accept-Encoding": "identity", "User-Agent": "earshot", **bearer(place)},
    )
