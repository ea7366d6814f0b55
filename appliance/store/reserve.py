"""Room on the disk that is kept for when it is full: deleting and signing in must go on then."""

from __future__ import annotations

import os
from pathlib import Path

from appliance import logs

SIZE_BYTES = 8 << 20
"""What a deletion of many calls may need in the write-ahead log, with some to spare."""
_LEAST_FREE_BYTES = 1 << 20
_PLENTY = 4

log = logs.get(__name__)


class Reserve:
    """A file beside the SQLite database that only takes up room.

    Args:
        database: the database's file; None: it is on a server, whose disk is not ours to keep.
    """

    def __init__(self, database: Path | None) -> None:
        self._path = None if database is None else database.with_name(database.name + ".reserve")

    def lay_by(self) -> None:
        """Take the room, unless it is taken or the disk has little."""
        if self._path is None or self._path.exists():
            return
        try:
            if _free_bytes(self._path.parent) < _PLENTY * SIZE_BYTES:
                return
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.posix_fallocate(file, 0, SIZE_BYTES)
            finally:
                os.close(file)
        except OSError as error:
            log.warning("reserve_not_laid_by", error=type(error).__name__)
            self._give_up()

    def make_room(self) -> None:
        """Give the room up if the disk is full."""
        if self._path is None:
            return
        try:
            full = _free_bytes(self._path.parent) < _LEAST_FREE_BYTES
        except OSError:
            # Whatever is wrong with the folder, the write itself says it better.
            return
        if full and self._give_up():
            log.warning("reserve_spent", bytes=SIZE_BYTES)

    def _give_up(self) -> bool:
        if self._path is None:
            return False
        try:
            self._path.unlink()
        except OSError:
            return False
        return True


def _free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
