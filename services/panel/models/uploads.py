"""The owner's own model files: streamed into a folder aside, looked at by a child, then put into place."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from appliance import logs
from appliance.catalogue.entries import Task
from appliance.catalogue.installed import Catalogue
from appliance.catalogue.lock import sync_folder
from appliance.catalogue.reading import read_shape
from appliance.catalogue.staging import check_space
from appliance.errors import ApplianceError, BadInput, NotFound, TooLarge
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
        self, model_id: str, part: Part, body: AsyncIterator[bytes], declared: int | None
    ) -> list[Part]:
        """Take one file; the model is in place once all of its files have come.

        Args:
            model_id: what it is to be called; a model's id, never a path.
            part: which file this is.
            body: its bytes.
            declared: how many were announced, if they were.

        Returns:
            What is still missing.

        Raises:
            UploadClash: there is such a model, or it is being sent already.
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
            return await self._take(model_id, part, body, declared)
        finally:
            self._sending.discard(model_id)

    async def _take(
        self, model_id: str, part: Part, body: AsyncIterator[bytes], declared: int | None
    ) -> list[Part]:
        folder = self._root / model_id
        largest = LARGEST_CONFIG if part is Part.CONFIG else LARGEST
        if declared is not None and declared > largest:
            raise _too_large(largest)
        await asyncio.to_thread(self._prepare, folder, declared or 0)
        target = folder / f"{model_id}.{part.value}"
        draft = target.with_name(f".{target.name}.part")
        try:
            await self._receive(draft, part, body, largest, declared)
            await asyncio.to_thread(draft.replace, target)
        except OSError as error:
            log.warning("upload_failed", errno=error.errno)
            raise ApplianceError(
                "upload_not_kept", "The file could not be written.",
                "Check the disk's free space and send it again.", can_retry=True,
            ) from error  # fmt: skip
        finally:
            await asyncio.to_thread(draft.unlink, missing_ok=True)
        missing = [
            one for one in _WHOLE[part] if not (folder / f"{model_id}.{one.value}").is_file()
        ]
        if not missing:
            await asyncio.to_thread(self._place, model_id, part)
        return missing

    async def _receive(
        self,
        draft: Path,
        part: Part,
        body: AsyncIterator[bytes],
        largest: int,
        declared: int | None,
    ) -> None:
        received = checked = 0
        waiting = bytearray()
        file = await asyncio.to_thread(_create, draft)
        try:
            async for chunk in body:
                waiting += chunk
                received += len(chunk)
                if received > largest:
                    raise _too_large(largest)
                if received - len(waiting) == 0 and len(waiting) >= len(_MAGIC[part]):
                    _refuse_other(part, bytes(waiting[:4]))
                if len(waiting) >= _GATHER:
                    await asyncio.to_thread(file.write, bytes(waiting))
                    waiting.clear()
                if received - checked > _SPACE_EVERY:
                    checked = received
                    await asyncio.to_thread(_check_space, draft.parent, 0)
            _refuse_other(part, bytes(waiting[:4]) if received == len(waiting) else _MAGIC[part])
            if declared is not None and received != declared:
                raise BadInput("upload_cut", "The file did not arrive whole.", "Send it again.")
            await asyncio.to_thread(_finish, file, bytes(waiting))
        finally:
            await asyncio.to_thread(file.close)

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


def _create(path: Path) -> BinaryIO:
    # Never through a link, and not readable by anybody else.
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0)


def _finish(file: BinaryIO, rest: bytes) -> None:
    file.write(rest)
    os.fsync(file.fileno())


def _refuse_other(part: Part, begins: bytes) -> None:
    if not begins.startswith(_MAGIC[part]) or (part is Part.CONFIG and not begins):
        raise BadInput(
            "wrong_kind_of_file", f"This is not a .{part.value} file: its first bytes are others.",
            "A language model is one .gguf file; a voice is name.onnx and name.onnx.json.",
        )  # fmt: skip


def _too_large(largest: int) -> TooLarge:
    return TooLarge("upload_too_large", f"The file is over the limit of {largest >> 20:,} MiB.")
