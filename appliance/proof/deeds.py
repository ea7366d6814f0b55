"""What the owner does while the box is watched: lets another model serve, reads every page."""

from __future__ import annotations

import re
import time
from typing import Any

import httpx

from appliance.errors import ApplianceError, TimedOut
from appliance.secrets import known_local_token
from appliance.settings import Settings

_SWITCH_S = 240.0
_LOOK_S = 0.25
_TASKS = ("stt", "tts", "llm")
_SWITCH = "/api/v1/models/switch"
_ADDRESS = re.compile(r'(?:href|src|hx-get)="(/[^"#?/][^"#?]*|/)["#?]')
# Downloads, and what is changed by being asked for.
_NOT_READ = ("/api/", "/sign-out", "/v1/")
_MOST_PAGES = 400


def owner(settings: Settings) -> httpx.Client:
    """Somebody who may do everything on the box of these settings."""
    return httpx.Client(
        base_url=f"http://127.0.0.1:{settings.front.http_port}", trust_env=False, timeout=60,
        headers={"Authorization": f"Bearer {known_local_token(settings)}", "X-Earshot-Client": "1"},
    )  # fmt: skip


def switch_model(http: httpx.Client) -> str:
    """Let another installed model serve, the smallest there is.

    Returns:
        What took the place of what; empty if no task has a second model here.

    Raises:
        ApplianceError: the new model does not serve.
    """
    chosen = choose(http.get("/api/v1/models").raise_for_status().json()["models"])
    if chosen is None:
        return ""
    task, before, to = chosen
    http.post(_SWITCH, json={"task": task, "model": to}).raise_for_status()
    deadline = time.monotonic() + _SWITCH_S
    while not (switch := http.get(_SWITCH).raise_for_status().json())["finished"]:
        if time.monotonic() > deadline:
            raise TimedOut("switch_slow", f"{to} was not ready within {_SWITCH_S:.0f} s.")
        time.sleep(_LOOK_S)
    if switch["state"] != "committed":
        raise ApplianceError(
            "switch_failed", f"{before} was to give way to {to}, and did not: {switch['reason']}"
        )
    return f"{before} gave way to {to}"


def choose(models: list[dict[str, Any]]) -> tuple[str, str, str] | None:
    """Task, the model that serves, and another one that may serve in its place."""
    for task in _TASKS:
        here = [one for one in models if one["task"] == task and one["installed"]]
        serving = next((one["id"] for one in here if one["selected"]), None)
        others = [
            one for one in here
            if not (one["selected"] or one["licence_to_accept"] or one["trouble"])
        ]  # fmt: skip
        if serving and others:
            return task, serving, min(others, key=lambda one: one["size"] or 0)["id"]
    return None


def read_pages(http: httpx.Client) -> int:
    """Ask for every page of the panel, by its own links, with all that belongs to them.

    Returns:
        How many pages there were.

    Raises:
        ApplianceError: the panel failed at one.
    """
    known, waiting, pages = {"/"}, ["/"], 0
    while waiting:
        path = waiting.pop()
        answer = http.get(path, headers={"Accept": "text/html"})
        if answer.is_server_error:
            raise ApplianceError("page_failed", f"The page {path} failed: {answer.status_code}.")
        if not answer.headers.get("content-type", "").startswith("text/html"):
            continue
        pages += answer.is_success
        found = {one for one in _ADDRESS.findall(answer.text) if not one.startswith(_NOT_READ)}
        waiting += sorted(found - known)
        known |= found
        if len(known) > _MOST_PAGES:
            raise ApplianceError("pages_without_end", f"More than {_MOST_PAGES} pages are linked.")
    return pages
