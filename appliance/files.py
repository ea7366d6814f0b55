"""Files that are replaced whole, and locks between the programs that replace them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def exclusive(path: Path, refusal: Exception | None = None) -> Iterator[None]:
    """Hold this lock file alone; waits for whoever has it, or raises ``refusal`` at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if refusal else 0))
        except BlockingIOError as error:
            raise (refusal or error) from error
        yield


def write_whole(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace a file so that a reader, or a power cut, meets the old one or the new one.

    Args:
        path: in a folder that exists.
        text: all of it, written in UTF-8.
        mode: of the new file, less the umask; the owner's alone unless said otherwise.

    Raises:
        OSError: it could not be written; the old file is as it was.
    """
    with whole_file(path, mode=mode) as file:
        file.write(text.encode("utf-8"))


@contextmanager
def whole_file(path: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """The same for bytes that come piece by piece; ``file.name`` is the draft until the block ends.

    Raises:
        OSError: it could not be written; the old file is as it was.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    try:
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        # Unlike os.fdopen, this keeps the name.
        with open(draft, "w+b", opener=lambda _path, _flags: descriptor) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
