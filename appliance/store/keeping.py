"""The database's copy that an update keeps until the new version has shown that it is ready."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path

from appliance.errors import ApplianceError, NotFound, Refused
from appliance.files import sync_folder
from appliance.store.copying import copy
from appliance.store.engine import sqlite_path

KEPT_NAME = "before-update.db"
DRAFT_NAME = f".{KEPT_NAME}"
# What a newer version wrote after it was ready: nobody but the owner may throw it away.
ASIDE_NAME = "after-update.db"


@contextmanager
def box_down(folder: Path) -> Iterator[None]:
    """Keep the box of this data folder from being started meanwhile.

    Raises:
        Refused: it runs.
    """
    descriptor = os.open(folder / "box.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Refused("box_runs", "Earshot is running.", "Stop it first.") from error
    else:
        yield
    finally:
        os.close(descriptor)


def keep(url: str, folder: Path) -> bool:
    """Copy the database, whole and checked. False: there is none yet. Within ``box_down``.

    Args:
        url: the database's.
        folder: where the copy goes, the data folder.

    Raises:
        Refused: the database is a server's.
        ApplianceError: it could not be copied; nothing is kept.
    """
    path = _file_of(url)
    drop(folder)
    if not path.exists():
        return False
    draft = folder / DRAFT_NAME
    try:
        copy(url, draft)
        _check(draft)
        draft.replace(folder / KEPT_NAME)
        sync_folder(folder)
    except (OSError, sqlite3.Error) as error:
        raise ApplianceError(
            "database_not_kept", "The database could not be copied before the update.",
            "Look at the disk's free space and at `scripts/appliance doctor`.",
        ) from error  # fmt: skip
    finally:
        draft.unlink(missing_ok=True)
    return True


def put_back(url: str, folder: Path, *, aside: bool = False) -> None:
    """Put the kept copy in the database's place. Within ``box_down``.

    Args:
        url: the database's.
        folder: where the copy is, the data folder.
        aside: keep what is in its place, under ``ASIDE_NAME`` in that folder.

    Raises:
        NotFound: no copy is kept.
        Refused: the database is a server's.
        ApplianceError: the copy is damaged or could not be moved; both are where they were.
    """
    path, kept = _file_of(url), folder / KEPT_NAME
    if not kept.exists():
        raise NotFound("nothing_kept", "No database of before an update is kept here.")
    try:
        _check(kept)
        if aside:
            if path.exists():
                _make_room(folder / ASIDE_NAME)
            # Also where this was cut off between database and log.
            _move(path, folder / ASIDE_NAME)
        # The newer version's write-ahead log must not be played into the older database.
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        kept.replace(path)
        sync_folder(folder)
        sync_folder(path.parent)
    except (OSError, sqlite3.Error) as error:
        raise ApplianceError(
            "database_not_put_back", f"The database of before the update is still in {kept}.",
            "Look at the disk's free space, then try again.",
        ) from error  # fmt: skip


def _make_room(aside: Path) -> None:
    """What an earlier update set aside goes to the first free number."""
    if aside.exists():
        numbered = (aside.with_name(f"{aside.name}.{number}") for number in count(1))
        _move(aside, next(path for path in numbered if not path.exists()))


def _move(path: Path, target: Path) -> None:
    # SQLite finds a log by its database's name.
    for suffix in ("", "-wal"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(target.with_name(target.name + suffix))


def drop(folder: Path) -> None:
    """Delete the kept copy: it holds calls that a purge would not find."""
    for copied in (folder / KEPT_NAME, folder / DRAFT_NAME):
        copied.unlink(missing_ok=True)


def is_file(url: str) -> bool:
    """Whether the database is a file, which can be copied."""
    return sqlite_path(url) is not None


def _file_of(url: str) -> Path:
    path = sqlite_path(url)
    if path is None:
        raise Refused(
            "database_elsewhere", "The database is a server's, which an update cannot copy.",
            "Make a dump of it with its own tools, then update with --without-copy.",
        )  # fmt: skip
    return path


def _check(path: Path) -> None:
    with closing(sqlite3.connect(path)) as copy:
        if copy.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("quick_check")
