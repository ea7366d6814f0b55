"""Making a backup: a copy of everything that cannot be made again, sealed and read back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from appliance import __version__, logs
from appliance.backup.contents import DATABASE, files_in, gather
from appliance.backup.keys import recipient_of
from appliance.backup.sealing import digest_of, seal
from appliance.backup.shelf import Backup, Card, Shelf
from appliance.errors import ApplianceError
from appliance.files import exclusive, whole_file
from appliance.preflight import LEAST_FREE_MB
from appliance.settings import Settings
from appliance.store.copying import calls_with_words, copy
from appliance.store.engine import sqlite_path
from appliance.store.keeping import DRAFT_NAME

if TYPE_CHECKING:
    from pyrage import x25519

NO_DATABASE = (
    "The calls, the password and the keys are in the database server of database_url and not in "
    "this backup: keep them with pg_dump."
)
_DRAFT = "backup.draft"
log = logs.get(__name__)


class UnderWay(ApplianceError):
    """Another backup is being made or looked after."""

    http_status = 409


def make(settings: Settings) -> Backup:
    """Make a backup, check that it can be read back, and delete those that are too many.

    Raises:
        Refused: no recipient is set.
        UnderWay: another one is being made.
        ApplianceError: a folder is not there, a disk is full, the database cannot be read.
    """
    recipient = recipient_of(settings)
    shelf = Shelf(settings)
    shelf.prepare()
    try:
        with alone(settings):
            shelf.sweep()
            made = _made(settings, shelf, recipient)
            if made.state != "whole":
                # Left there, it would count as the night's and nobody would try again.
                shelf.remove(made.name)
                raise ApplianceError(
                    "backup_not_whole", f"{made.name} did not read as it was written, and was removed.",
                    "The disk of the backups may be failing: set backup.dir to another one.",
                )  # fmt: skip
            gone = shelf.prune(made)
    except OSError as error:
        raise shelf.unusable(error) from error
    log.info("backup_made", name=made.name, bytes=made.size, pruned=len(gone))
    return made


def _made(settings: Settings, shelf: Shelf, recipient: x25519.Recipient) -> Backup:
    with _draft_folder(settings) as draft:
        _require_room(settings, shelf)
        database = _copy_database(settings, draft)
        made_at = datetime.now(UTC).replace(microsecond=0)
        while (target := shelf.name_for(made_at)).exists():
            made_at += timedelta(seconds=1)
        with whole_file(target) as file:
            digest = seal(gather(settings, database, made_at), recipient, file)
            file.flush()
            os.fsync(file.fileno())
            # Before the file itself, so that there is none without a card.
            shelf.note(
                target,
                Card(
                    made_at=made_at, size=os.fstat(file.fileno()).st_size, sha256=digest,
                    version=__version__, recipient=str(recipient), database=database is not None,
                    calls=" ".join(calls_with_words(database)) if database else "",
                    personas=len(files_in(settings.data_dir / "personas")),
                    checked_at=datetime.now(UTC), whole=digest_of(Path(file.name)) == digest,
                ),
            )  # fmt: skip
    return shelf.find(target.name)


def check_all(settings: Settings) -> list[Backup]:
    """Compare every backup's digest; newest first.

    Raises:
        UnderWay: one is being made.
        ApplianceError: the folder is not there.
    """
    shelf = Shelf(settings)
    with alone(settings):
        return [shelf.check(one) for one in shelf.all()]


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Hold the lock of whoever changes the backups.

    Raises:
        UnderWay: somebody has it.
    """
    under_way = UnderWay(
        "backup_under_way", "A backup is being made at this moment.",
        "Wait until it is there.", can_retry=True,
    )  # fmt: skip
    with exclusive(settings.data_dir / "backup.lock", under_way):
        yield


def clear_drafts(settings: Settings) -> None:
    """Remove unsealed copies that an interrupted backup or update has left; the box runs.

    Raises:
        UnderWay: a backup is being made.
    """
    # An update copies while the box is down, so that this one has nobody any more.
    for left in settings.data_dir.glob(f"{DRAFT_NAME}*"):
        left.unlink(missing_ok=True)
    folder = settings.data_dir / _DRAFT
    if folder.exists():
        with alone(settings):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _draft_folder(settings: Settings) -> Iterator[Path]:
    """A folder for the copy before it is sealed: among the data, never on the backups' disk."""
    folder = settings.data_dir / _DRAFT
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy_database(settings: Settings, draft: Path) -> Path | None:
    if sqlite_path(settings.store_url) is None:
        return None
    copy(settings.store_url, draft / DATABASE)
    return draft / DATABASE


def _require_room(settings: Settings, shelf: Shelf) -> None:
    """Refuse before calls could suffer: both disks keep what the box itself needs."""
    path = sqlite_path(settings.store_url)
    needed = (path.stat().st_size if path and path.exists() else 0) + (1 << 20)
    on_one = settings.data_dir.stat().st_dev == shelf.folder.stat().st_dev
    for folder, bytes_ in {
        settings.data_dir: needed * (2 if on_one else 1),
        shelf.folder: needed,
    }.items():
        free = shutil.disk_usage(folder).free
        spare = LEAST_FREE_MB * 1_000_000 if folder == settings.data_dir or on_one else 0
        if free < bytes_ + spare:
            raise ApplianceError(
                "backup_no_room", f"There is too little space in {folder} for a backup: "
                f"{(bytes_ + spare) // 1_000_000 + 1} MB are needed, {free // 1_000_000} MB are free.",
                "Free some space there, or set backup.dir to a folder on another disk.",
                can_retry=True,
            )  # fmt: skip
