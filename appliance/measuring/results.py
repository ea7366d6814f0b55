"""The files of a measurement: all figures, every turn, and a picture; and the latest of them."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.errors import BadInput, NotFound
from appliance.measuring.chart import chart
from appliance.settings import Settings

KEPT = 50
"""Of those in the data folder; the oldest go."""
_NAME = re.compile(r"calls-\d{8}-\d{6}-[0-9a-f]{4}")


def folder_of(settings: Settings) -> Path:
    """Where an owner's results lie."""
    return settings.data_dir / "measurements"


def writable(folder: Path) -> None:
    """Make the folder: after the calls it would be too late to say no.

    Raises:
        BadInput: it cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / f".{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadInput(
            "out_not_writable", f"{folder} cannot be written.", "Name a folder of yours."
        ) from error


def write(folder: Path, result: Mapping[str, Any]) -> Path:
    """Write the figures and their picture beside each other; returns the figures' path.

    Raises:
        BadInput: the folder cannot be written.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    path = folder / f"calls-{stamp}-{secrets.token_hex(2)}.json"
    try:
        path.with_suffix(".svg").write_text(chart(result), encoding="utf-8")
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(
            "out_not_writable", f"{folder} cannot be written.", "Make room there."
        ) from error
    return path


def tidy(folder: Path) -> None:
    """Take away the oldest results, as far as there are too many."""
    for name in names(folder)[KEPT:]:
        for suffix in (".json", ".svg"):
            (folder / name).with_suffix(suffix).unlink(missing_ok=True)


def names(folder: Path) -> list[str]:
    """The results of a folder by name, newest first."""
    found = [path.stem for path in folder.glob("calls-*.json") if _NAME.fullmatch(path.stem)]
    return sorted(found, reverse=True)


def read(folder: Path, name: str) -> dict[str, Any]:
    """One result.

    Raises:
        NotFound: there is none of that name, or it cannot be read.
    """
    try:
        if not _NAME.fullmatch(name):
            raise ValueError(name)
        found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        if not isinstance(found["ours"], dict):
            raise TypeError(name)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotFound("measurement_unknown", f"There is no measurement {name[:60]!r}.") from error
    return found
