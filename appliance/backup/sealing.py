"""A tar, made as it is read, sealed with age on its way to the disk; and opened again."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from appliance.errors import ApplianceError, BadInput

if TYPE_CHECKING:
    from pyrage import x25519

_PIECE = 1 << 16
_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class Member:
    """One file of a backup.

    Attributes:
        name: its path in the backup.
        content: the bytes themselves, or a file that nobody changes meanwhile.
    """

    name: str
    content: bytes | Path


def seal(members: Iterable[Member], recipient: x25519.Recipient, target: BinaryIO) -> str:
    """Write the members, sealed. Returns the SHA-256 of what was written.

    Raises:
        OSError: a member cannot be read, or the target not be written.
    """
    from pyrage import EncryptError, encrypt_io

    source, sink = _TarStream(members), _Hashed(target)
    try:
        encrypt_io(source, sink, [recipient])
    except EncryptError as error:
        # The library keeps but the text of what the two files said.
        raise source.error or sink.error or error from error
    return sink.digest.hexdigest()


def unseal(source: Path, identities: list[x25519.Identity], target: Path) -> None:
    """Write the opened tar into a new file.

    Raises:
        BadInput: the key is another one, or the file is no whole backup.
        OSError: the source cannot be read, or the target not be written.
    """
    from pyrage import DecryptError, decrypt_io

    with ExitStack() as files:
        reader = files.enter_context(source.open("rb"))
        writer = _Hashed(files.enter_context(target.open("xb")))
        target.chmod(0o600)
        try:
            decrypt_io(reader, writer, identities)
        except DecryptError as error:
            if "No matching keys" in str(error):
                raise BadInput(
                    "identity_wrong", f"This key does not open {source.name}.",
                    "It was sealed for another one: give the identity that belongs to that box.",
                ) from error  # fmt: skip
            raise damaged(source) from error
        except OSError as error:
            # A truncated or changed file is told as one that cannot be read.
            raise writer.error or damaged(source) from error


def damaged(source: Path) -> ApplianceError:
    """What to say of a file that is no whole backup."""
    return BadInput(
        "backup_damaged", f"{source.name} is no backup of Earshot, or not all of one.",
        "Copy it again from where it was kept, or take another one.",
    )  # fmt: skip


def digest_of(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _TarStream:
    """A tar as something to read from."""

    def __init__(self, members: Iterable[Member]) -> None:
        self._pieces = _pieces(members)
        self._left = memoryview(b"")
        self.error: OSError | None = None

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes; empty at the end."""
        try:
            while not self._left:
                piece = next(self._pieces, None)
                if piece is None:
                    return b""
                self._left = memoryview(piece)
        except OSError as error:
            self.error = error
            raise
        part = self._left if size < 0 else self._left[:size]
        self._left = self._left[len(part) :]
        return bytes(part)


def _pieces(members: Iterable[Member]) -> Iterator[bytes]:
    for member in members:
        info = tarfile.TarInfo(member.name)
        info.mode = 0o600
        if isinstance(member.content, bytes):
            info.size = len(member.content)
            yield info.tobuf(tarfile.PAX_FORMAT)
            yield member.content
        else:
            with member.content.open("rb") as file:
                info.size = member.content.stat().st_size
                yield info.tobuf(tarfile.PAX_FORMAT)
                while piece := file.read(_PIECE):
                    yield piece
        yield bytes(-info.size % _BLOCK)
    yield bytes(2 * _BLOCK)


class _Hashed:
    """A file that is written, and the digest of what went into it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, piece: bytes) -> int:
        """Write all of it."""
        try:
            self._file.write(piece)
        except OSError as error:
            self.error = error
            raise
        self.digest.update(piece)
        return len(piece)

    def flush(self) -> None:
        """Hand everything to the system."""
        try:
            self._file.flush()
        except OSError as error:
            self.error = error
            raise
