"""A model's metadata, read by a child with narrow limits and remembered while the files are the same."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from appliance import logs
from appliance.catalogue.entries import Task
from appliance.catalogue.installed import InstalledModel
from appliance.catalogue.shape import Shape
from appliance.errors import BadInput
from appliance.settings import PROJECT_DIR, sealed_environment

_DEADLINE_S = 40.0
_REMEMBERED = 256

log = logs.get(__name__)

_Mark = tuple[tuple[str, int, int, int], ...]
_known: dict[_Mark, Shape] = {}
_lock = threading.Lock()


def shape_of_installed(model: InstalledModel) -> Shape:
    """The shape of an installed model.

    Raises:
        BadInput: its files are damaged or of another kind.
    """
    return read_shape(model.task, model.files)


def read_shape(task: Task, files: Mapping[str, Path]) -> Shape:
    """The shape of these files, by role; a second asking costs nothing while they are the same.

    Raises:
        BadInput: they are not what they should be, or could not be read within the limits.
    """
    mark = tuple(
        (str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino)
        for path in files.values()
        for stat in (path.stat(),)
    )
    with _lock:
        found = _known.get(mark)
    if found is None:
        found = _ask_child(task, files)
        with _lock:
            if len(_known) >= _REMEMBERED:
                _known.clear()
            _known[mark] = found
    return found


def _ask_child(task: Task, files: Mapping[str, Path]) -> Shape:
    command = [sys.executable, "-m", "appliance.catalogue.reader", task]
    command += [f"{role}={path.absolute()}" for role, path in files.items()]
    try:
        done = subprocess.run(
            command, env=sealed_environment(), cwd=PROJECT_DIR, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_DEADLINE_S, check=False,
        )  # fmt: skip
        answer = json.loads(done.stdout) if done.returncode == 0 else None
    except (subprocess.TimeoutExpired, ValueError):
        answer = None
    if answer is None:
        names = ", ".join(path.name for path in files.values())
        log.warning("metadata_not_read", files=names)
        raise BadInput(
            "metadata_unreadable", f"The metadata of {names} cannot be read within the limits.",
            "The file is damaged or made to do harm; do not use it.",
        )  # fmt: skip
    if error := answer.get("error"):
        raise BadInput(error["code"], error["message"], error["hint"])
    return Shape.model_validate(answer["shape"])
