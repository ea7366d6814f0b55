"""Whose answers are measured: this box, and what it is compared with."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

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


async def _nobody(_own: Collection[str]) -> int:
    """Nobody else can call it."""
    return 0


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
        others: told the ids of its own calls, counts who else calls it now.
    """

    name: str
    make: Callable[[], Caller]
    memory: Callable[[], Mapping[str, int]]
    llm: Callable[[], httpx.AsyncClient]
    model: str = "default"
    heard: Callable[[str, int, int], object] | None = None
    rested: Callable[[], Awaitable[None]] = _at_once
    others: Callable[[Collection[str]], Awaitable[int]] = _nobody


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

    async def others(own: Collection[str]) -> int:
        try:
            calls, waiting, _box = await _line(settings)
        except NotReady:
            # The calls themselves tell of a box that does not answer.
            return 0
        return len(calls - set(own)) + waiting

    return Side(
        "ours", lambda: Caller(front, persona, token=token),
        # The panel starts a measurement as its child.
        lambda: program_memory(settings, without=os.getpid()), llm,
        settings.llm.model if settings.llm.url else "default", open_store(settings).turns.heard,
        others=others,
    )  # fmt: skip


def front_of(settings: Settings) -> tuple[str, str]:
    """The address of the box that runs here, and what the command signs in with."""
    port = as_started(settings).front.http_port
    return f"http://127.0.0.1:{port}", known_local_token(settings)


async def _line(settings: Settings) -> tuple[set[str], int, dict[str, Any]]:
    """The ids of the open calls, how many callers wait, and all that the box says of itself.

    Raises:
        NotReady: it does not answer.
    """
    front, token = front_of(settings)
    auth = {"Authorization": f"Bearer {token}"}
    try:
        async with httpx.AsyncClient(
            base_url=front, headers=auth, timeout=_ASK_S, trust_env=False
        ) as http:
            box = (await http.get("/api/v1/box")).json()
        return {str(call["id"]) for call in box["calls"]}, int(box["waiting"]), box
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise _unreachable(front) from error


def _unreachable(front: str) -> NotReady:
    return NotReady(
        "box_unreachable", f"The box does not answer at {front}.", "Start it with scripts/run."
    )


async def check_seats(settings: Settings, rooms: int) -> None:
    """Make sure that so many callers can come in at once.

    Raises:
        NotReady: the box does not run, is not ready, is in use or has too few seats.
    """
    calls, waiting, box = await _line(settings)
    try:
        is_ready, why, seats = bool(box["ready"]), list(box["why"]), int(box["seats"])
    except (ValueError, KeyError, TypeError) as error:
        raise _unreachable(front_of(settings)[0]) from error
    callers = len(calls) + waiting
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
