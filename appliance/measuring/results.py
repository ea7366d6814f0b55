"""The files of a measurement: all figures, every turn, and a picture; and the latest of them."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError, BadInput, NotFound, NotReady
from appliance.files import exclusive, write_whole
from appliance.measuring.chart import chart
from appliance.settings import Settings

KEPT = 50
"""Of those in the data folder; the oldest go."""
_NAME = re.compile(r"calls-\d{8}-\d{6}-[0-9a-f]{4}")
_LOCK_NAME = "running.lock"
# As much as a long measurement leaves: an empty file can be made on a disk that is full.
_ROOM_BYTES = 1_000_000


def folder_of(settings: Settings) -> Path:
    """Where an owner's results lie."""
    return settings.data_dir / "measurements"


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Hold the lock of whoever measures this box: two at once would measure each other.

    Raises:
        BadInput: the folder of the results cannot be written.
        NotReady: somebody measures already.
    """
    folder = folder_of(settings)
    measuring = NotReady(
        "measuring", "A measurement of this box is under way already.",
        "Wait for its end.", can_retry=True,
    )  # fmt: skip
    with ExitStack() as stack:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(exclusive(folder / _LOCK_NAME, measuring))
        except OSError as error:
            raise _not_writable(folder) from error
        yield


def writable(folder: Path) -> None:
    """Make the folder and see that there is room: after the calls it would be too late to say no.

    Raises:
        BadInput: it cannot be written.
    """
    probe = folder / f".calls-{secrets.token_hex(4)}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with probe.open("wb") as file:
                # Zeros would take no room where the file system compresses.
                file.write(secrets.token_bytes(_ROOM_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise _not_writable(folder) from error


def _not_writable(folder: Path) -> BadInput:
    return BadInput(
        "out_not_writable", f"{folder} cannot be written.",
        "Make room there, or name a folder of yours with --out.",
    )  # fmt: skip


def write(folder: Path, result: Mapping[str, Any]) -> Path:
    """Write the figures and their picture beside each other; returns the figures' path.

    Raises:
        ApplianceError: the folder cannot be written any more; nothing of it is left there.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    path = folder / f"calls-{stamp}-{secrets.token_hex(2)}.json"
    try:
        # The figures last: a result is listed by them.
        write_whole(path.with_suffix(".svg"), chart(result))
        write_whole(path, json.dumps(result, indent=1) + "\n")
    except OSError as error:
        path.with_suffix(".svg").unlink(missing_ok=True)
        raise ApplianceError(
            "result_not_written", f"The result could not be written to {folder}.",
            "Make room there.",
        ) from error  # fmt: skip
    return path


def tidy(folder: Path) -> None:
    """Take away the oldest results, as far as there are too many, and what a crash left. Within ``alone``."""
    for draft in folder.glob(".calls-*"):
        draft.unlink(missing_ok=True)
    for picture in folder.glob("calls-*.svg"):
        if not picture.with_suffix(".json").exists():
            picture.unlink(missing_ok=True)
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
