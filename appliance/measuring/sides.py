"""Whose answers are measured: this box, and what it is compared with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import httpx

from appliance.calling import Caller
from appliance.catalogue import Catalogue
from appliance.catalogue.digests import models_in_use
from appliance.elsewhere import bearer, root
from appliance.errors import ApplianceError, NotReady
from appliance.running import as_started
from appliance.secrets import known_local_token
from appliance.settings import Settings
from appliance.status import program_memory
from appliance.store import open_store

_ASK_S = 10.0


async def _at_once() -> None:
    """Nothing to wait for."""


@dataclass(frozen=True)
class Side:
    """One of those that are measured.

    Attributes:
        name: in the results: ``ours`` or ``stock``.
        make: makes a caller that has not joined yet.
        memory: bytes by program, now.
        llm: makes a client of its language model, the address before ``/v1``.
        model: what that client asks for.
        heard: told a call's id, a turn's index and when its answer was heard, in ms, in a thread.
        rested: returns when nothing of its calls goes on: awaited after each round.
    """

    name: str
    make: Callable[[], Caller]
    memory: Callable[[], Mapping[str, int]]
    llm: Callable[[], httpx.AsyncClient]
    model: str = "default"
    heard: Callable[[str, int, int], object] | None = None
    rested: Callable[[], Awaitable[None]] = _at_once


def ours(settings: Settings, persona: str | None) -> Side:
    """The box that runs on this machine."""
    front, token = front_of(settings)

    def llm() -> httpx.AsyncClient:
        if settings.llm.url:
            return httpx.AsyncClient(
                base_url=root(settings.llm), headers=bearer(settings.llm), trust_env=False
            )
        # A unix socket shows no certificate; reading the authorities takes a while.
        socket = httpx.AsyncHTTPTransport(uds=str(settings.socket("llm")), verify=False)
        return httpx.AsyncClient(base_url="http://llm", transport=socket, trust_env=False)

    return Side(
        "ours", lambda: Caller(front, persona, token=token), lambda: program_memory(settings), llm,
        settings.llm.model if settings.llm.url else "default", open_store(settings).turns.heard,
    )  # fmt: skip


def front_of(settings: Settings) -> tuple[str, str]:
    """The address of the box that runs here, and what the command signs in with."""
    port = as_started(settings).front.http_port
    return f"http://127.0.0.1:{port}", known_local_token(settings)


async def check_seats(settings: Settings, rooms: int) -> None:
    """Make sure that so many callers can come in at once.

    Raises:
        NotReady: the box does not run, is not ready, is in use or has too few seats.
    """
    front, token = front_of(settings)
    auth = {"Authorization": f"Bearer {token}"}
    try:
        async with httpx.AsyncClient(
            base_url=front, headers=auth, timeout=_ASK_S, trust_env=False
        ) as http:
            box = (await http.get("/api/v1/box")).json()
        is_ready, why, seats = bool(box["ready"]), list(box["why"]), int(box["seats"])
        callers = len(box["calls"]) + int(box["waiting"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise NotReady(
            "box_unreachable", f"The box does not answer at {front}.", "Start it with scripts/run."
        ) from error
    if not is_ready:
        raise NotReady(
            "box_not_ready", " ".join(["The box is not ready.", *map(str, why[:1])]),
            "`scripts/appliance status` says more.",
        )  # fmt: skip
    if callers:
        who = "A caller is" if callers == 1 else f"{callers} callers are"
        raise NotReady(
            "callers_in", f"{who} on the line: a measurement would disturb them, and they it.",
            "Try again when the calls are over.",
        )  # fmt: skip
    if rooms > seats:
        raise NotReady(
            "too_few_seats", f"{rooms} rooms need {rooms} seats, and the box has {seats}.",
            "Ask for fewer rooms, or raise the setting agent.seats.",
        )  # fmt: skip


def models_of(settings: Settings) -> dict[str, str]:
    """What answers, by task: a model's id, or the address where another server has it."""
    urls = {"stt": settings.stt.url, "llm": settings.llm.url, "tts": settings.tts.url}
    try:
        found = models_in_use(settings, Catalogue(settings))
    except ApplianceError:
        found = []
    return {model.entry.task: model.entry.id for model in found} | {
        k: v for k, v in urls.items() if v
    }
