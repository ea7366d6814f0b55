"""The owner's own model files: streamed into a folder aside, looked at by a child, then put into place."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from appliance import logs
from appliance.catalogue.digests import sha256_of
from appliance.catalogue.entries import Task
from appliance.catalogue.installed import Catalogue
from appliance.catalogue.lock import LockedFile, LockedModel, add_to_lock
from appliance.catalogue.reading import read_shape
from appliance.catalogue.staging import check_space
from appliance.errors import ApplianceError, BadInput, NotFound, TooLarge
from appliance.files import sync_folder
from appliance.settings import Settings

log = logs.get(__name__)

LARGEST = 200 << 30
LARGEST_CONFIG = 4 << 20
_ASIDE = ".upload"
_MOST_ASIDE = 8
_AT_ONCE = 2
_GATHER = 4 << 20
_SPACE_EVERY = 64 << 20


class Part(StrEnum):
    """Which file of a model is sent: a GGUF is one file, a voice is two."""

    GGUF = "gguf"
    ONNX = "onnx"
    CONFIG = "onnx.json"


_WHOLE: dict[Part, tuple[Part, ...]] = {
    Part.GGUF: (Part.GGUF,),
    Part.ONNX: (Part.ONNX, Part.CONFIG),
    Part.CONFIG: (Part.ONNX, Part.CONFIG),
}
_TASKS: dict[Part, Task] = {Part.GGUF: "llm", Part.ONNX: "tts", Part.CONFIG: "tts"}
_ROLES = {Part.GGUF: "model", Part.ONNX: "model", Part.CONFIG: "config"}
# The first bytes: a wrong file is refused before all of it has come.
_MAGIC = {Part.GGUF: b"GGUF", Part.ONNX: b"\x08", Part.CONFIG: b""}


@dataclass(frozen=True)
class Piece:
    """Where a request's bytes belong in the file; without a total they are all of it. Bytes."""

    at: int = 0
    total: int | None = None
    length: int | None = None
    """Of this piece, if it was announced."""


class UploadClash(ApplianceError):
    """There is such a model, or it is being sent just now."""

    http_status = 409


class Uploads:
    """Files on their way in.

    Args:
        settings: the box's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root = settings.models_path / _ASIDE
        self._sending: set[str] = set()

    def clear(self) -> None:
        """Throw away what an earlier panel left unfinished."""
        shutil.rmtree(self._root, ignore_errors=True)

    async def take(
        self, model_id: str, part: Part, body: AsyncIterator[bytes], piece: Piece
    ) -> list[Part]:
        """Take one piece of a file; the model is in place once all of its files are whole.

        Args:
            model_id: what it is to be called; a model's id, never a path.
            part: which file this is.
            body: the piece's bytes.
            piece: where in the file it belongs.

        Returns:
            What is still missing; this part too while it is not whole.

        Raises:
            UploadClash: there is such a model, or it is being sent already, or a piece was left out.
            TooLarge: it is larger than the limit.
            BadInput: it is not what it claims to be.
            ApplianceError: the disk is too full.
        """
        await asyncio.to_thread(self._refuse_known, model_id)
        if model_id in self._sending or len(self._sending) >= _AT_ONCE:
            raise UploadClash(
                "upload_under_way", "A file is being sent already.", "Wait until it is here.",
                can_retry=True,
            )  # fmt: skip
        self._sending.add(model_id)
        try:
            return await self._take(model_id, part, body, piece)
        finally:
            self._sending.discard(model_id)

    async def _take(
        self, model_id: str, part: Part, body: AsyncIterator[bytes], piece: Piece
    ) -> list[Part]:
        folder = self._root / model_id
        largest = LARGEST_CONFIG if part is Part.CONFIG else LARGEST
        if max(piece.at + (piece.length or 0), piece.total or 0) > largest:
            raise _too_large(largest)
        await asyncio.to_thread(
            self._prepare, folder, (piece.total or piece.length or 0) - piece.at
        )
        target = folder / f"{model_id}.{part.value}"
        draft = target.with_name(f".{target.name}.part")
        whole = False
        try:
            received = await self._receive(draft, part, body, piece, largest)
            whole = piece.total is None or received >= piece.total
            if whole:
                await asyncio.to_thread(draft.replace, target)
        except OSError as error:
            log.warning("upload_failed", errno=error.errno)
            raise ApplianceError(
                "upload_not_kept", "The file could not be written.",
                "Check the disk's free space and send it again.", can_retry=True,
            ) from error  # fmt: skip
        missing = [
            one for one in _WHOLE[part] if not (folder / f"{model_id}.{one.value}").is_file()
        ]
        if whole and not missing:
            await asyncio.to_thread(self._place, model_id, part)
        return missing

    async def _receive(
        self, draft: Path, part: Part, body: AsyncIterator[bytes], piece: Piece, largest: int
    ) -> int:
        """Write one piece; the file's size so far. A piece that fails leaves what was there before."""
        size = checked = piece.at
        waiting = bytearray()
        file = await asyncio.to_thread(_open, draft, piece.at)
        try:
            async for chunk in body:
                waiting += chunk
                size += len(chunk)
                if size > min(largest, piece.total or largest):
                    raise _too_large(min(largest, piece.total or largest))
                if size == len(waiting) >= len(_MAGIC[part]):
                    _refuse_other(part, bytes(waiting[:4]))
                if len(waiting) >= _GATHER:
                    await asyncio.to_thread(_write, file, bytes(waiting))
                    waiting.clear()
                if size - checked > _SPACE_EVERY:
                    checked = size
                    await asyncio.to_thread(_check_space, draft.parent, 0)
            if size == len(waiting):
                _refuse_other(part, bytes(waiting[:4]))
            if piece.length is not None and size != piece.at + piece.length:
                raise BadInput("upload_cut", "The file did not arrive whole.", "Send it again.")
            await asyncio.to_thread(_finish, file, bytes(waiting))
        except BaseException:
            await asyncio.to_thread(_forget, draft, file, piece.at)
            raise
        finally:
            await asyncio.to_thread(file.close)
        return size

    def _refuse_known(self, model_id: str) -> None:
        catalogue = Catalogue(self._settings)
        known = model_id in catalogue.entries
        if not known:
            try:
                catalogue.find(model_id)
                known = True
            except NotFound:
                known = (self._settings.models_path / model_id).exists()
        if known:
            raise UploadClash(
                "model_exists", f"There is a model called {model_id!r} already.",
                "Choose another name.",
            )  # fmt: skip

    def _prepare(self, folder: Path, needed: int) -> None:
        """Make the folder, within the limits of the disk and of what may lie aside."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ApplianceError(
                "models_folder_unusable",
                f"The models folder {self._settings.models_path} cannot be written.",
                "Check its owner and mode.",
            ) from error
        others = sorted(
            (one for one in self._root.iterdir() if one.name not in (*self._sending, folder.name)),
            key=lambda one: one.stat().st_mtime,
        )
        for old in others[: max(0, len(others) + 1 - _MOST_ASIDE)]:
            shutil.rmtree(old, ignore_errors=True)
        _check_space(folder, needed)

    def _place(self, model_id: str, part: Part) -> None:
        """Look at the whole model in a child, then put it where models are; or throw it away."""
        folder = self._root / model_id
        files = {_ROLES[one]: folder / f"{model_id}.{one.value}" for one in _WHOLE[part]}
        try:
            read_shape(_TASKS[part], files)
            for stray in set(folder.iterdir()) - set(files.values()):
                stray.unlink()
            self._refuse_known(model_id)
            target = self._settings.models_path / model_id
            # As they came: a disk that rots is found out by a check of the files.
            digests = {
                path.name: LockedFile(sha256=sha256_of(path), size=path.stat().st_size)
                for path in files.values()
            }
            add_to_lock(target.parent, model_id, LockedModel(files=digests))
            folder.rename(target)
            sync_folder(target.parent)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        log.info("model_uploaded", model=model_id)


def _check_space(folder: Path, needed: int) -> None:
    try:
        check_space(folder, needed)
    except ApplianceError as error:
        # For who sends a file it is simply too large for this disk.
        raise TooLarge(error.code, error.message, error.hint) from error


def _open(path: Path, at: int) -> BinaryIO:
    """The draft, at the piece's place.

    Raises:
        UploadClash: the pieces before it are not here.
    """
    # Never through a link, and not readable by anybody else.
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    flags |= os.O_APPEND if at else os.O_CREAT | os.O_TRUNC
    try:
        file = os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0)
    except FileNotFoundError as error:
        raise _out_of_step() from error
    if os.fstat(file.fileno()).st_size != at:
        file.close()
        raise _out_of_step()
    return file


def _write(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        # A raw file may take less than it is given.
        view = view[file.write(view) :]


def _finish(file: BinaryIO, rest: bytes) -> None:
    _write(file, rest)
    os.fsync(file.fileno())


def _forget(path: Path, file: BinaryIO, at: int) -> None:
    if at:
        os.ftruncate(file.fileno(), at)
    else:
        path.unlink(missing_ok=True)


def _out_of_step() -> UploadClash:
    return UploadClash(
        "upload_out_of_step", "The pieces before this one are not here.", "Begin again at 0."
    )


def _refuse_other(part: Part, begins: bytes) -> None:
    if not begins.startswith(_MAGIC[part]) or (part is Part.CONFIG and not begins):
        raise BadInput(
            "wrong_kind_of_file", f"This is not a .{part.value} file: its first bytes are others.",
            "A language model is one .gguf file; a voice is name.onnx and name.onnx.json.",
        )  # fmt: skip


def _too_large(largest: int) -> TooLarge:
    return TooLarge("upload_too_large", f"The file is over the limit of {largest >> 20:,} MiB.")
