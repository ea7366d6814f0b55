"""Fetching models from the parent's side: a child does it, its JSON lines become events."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.catalogue.entries import CATALOGUE_FILE
from appliance.errors import ApplianceError, BadInput, NotFound, Refused
from appliance.settings import PROJECT_DIR, unsealed_environment

_STOP_S = 5.0
# The child may reach the source, and still tells nobody about us.
_QUIET = {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


@dataclasses.dataclass(frozen=True)
class PullEvent:
    """How far a fetch is."""

    kind: str
    """``waiting`` (another pull has it), ``progress``, ``checking``, ``already`` or ``done``."""
    done: int = 0
    """Bytes."""
    total: int = 0
    """Bytes; 0 while unknown."""


def pull_model(
    model_id: str,
    into: Path,
    catalogue: Path = CATALOGUE_FILE,
    on_child: Callable[[subprocess.Popen[str]], None] = lambda _child: None,
) -> Iterator[PullEvent]:
    """Fetch a model into ``into/<id>``; may be interrupted and called again.

    The child alone runs without the offline switches. Closing the iterator stops it; so does
    whoever ends the child that ``on_child`` is told of.

    Raises:
        ApplianceError: the child's own error, or that it died.
    """
    into.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "appliance.catalogue.pull", model_id,
        "--into", str(into.absolute()), "--catalogue", str(catalogue.absolute()),
    ]  # fmt: skip
    child = subprocess.Popen(
        command, env=unsealed_environment() | _QUIET, cwd=PROJECT_DIR,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    failure: ApplianceError | None = None
    try:
        on_child(child)
        for line in child.stdout or ():
            event = json.loads(line)
            kind = event.pop("event")
            if kind == "error":
                failure = _rebuild(event)
            else:
                yield PullEvent(kind, **event)
        child.wait()
    finally:
        _end(child)
    if failure:
        raise failure
    if child.returncode != 0:
        raise ApplianceError(
            "pull_interrupted", f"Fetching {model_id} was interrupted.", "Pull again; it goes on where it stopped.",
            can_retry=True,
        )  # fmt: skip


def _rebuild(event: dict[str, object]) -> ApplianceError:
    kinds = {"model_unknown": NotFound, "hub_gated": Refused, "catalogue_invalid": BadInput}
    code = str(event["code"])
    kind = kinds.get(code, ApplianceError)
    return kind(code, str(event["message"]), str(event["hint"]), can_retry=bool(event["can_retry"]))


def _end(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if child.stdout:
        child.stdout.close()
