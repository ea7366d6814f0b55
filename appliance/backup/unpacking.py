"""A sealed file becomes a folder of what it holds; whoever has the public key may have made it."""

from __future__ import annotations

import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from appliance.backup.contents import (
    DATABASE,
    FORMAT,
    MANIFEST,
    MODELS,
    SETTINGS,
    KeptModels,
    Manifest,
    is_ours,
)
from appliance.backup.sealing import damaged, unseal
from appliance.errors import ApplianceError, BadInput
from appliance.files import sync_folder
from appliance.settings_file import Values, parse

if TYPE_CHECKING:
    from pyrage import x25519

_MOST_FILES = 10_000
_LARGEST_READ = 16 << 20
"""Bytes of a file that is read as a whole."""
Kind = TypeVar("Kind", bound=BaseModel)


@dataclass(frozen=True)
class Unpacked:
    """What a backup holds, in a folder of its own.

    Attributes:
        folder: holds the database, the settings and the folders, each file 0600.
        manifest: what it says of itself.
        models: which models were there.
        values: what its settings.toml sets.
    """

    folder: Path
    manifest: Manifest
    models: KeptModels
    values: Values


def unpack(source: Path, identities: list[x25519.Identity], folder: Path) -> Unpacked:
    """Open a backup into a folder that is there and empty.

    Raises:
        BadInput: the key does not fit, it is no whole backup, a newer one, or a dangerous one.
        OSError: the disk is full, or a file cannot be read.
    """
    tar = folder / "backup.tar"
    unseal(source, identities, tar)
    target = folder / "new"
    target.mkdir(mode=0o700)
    try:
        with tarfile.open(tar, "r:") as archive:
            _extract(archive, target, source)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise damaged(source) from error
    tar.unlink()
    manifest = _read(target / MANIFEST, Manifest, source)
    if manifest.format > FORMAT:
        raise newer(manifest)
    if manifest.database != (target / DATABASE).exists():
        raise damaged(source)
    models = _read(target / MODELS, KeptModels, source)
    settings = target / SETTINGS
    values = parse(_text(settings, source), "The settings.toml in this backup")
    for path in (target / MANIFEST, target / MODELS):
        path.unlink()
    _sync(target)
    return Unpacked(target, manifest, models, values)


def newer(manifest: Manifest) -> ApplianceError:
    """What to say of a backup that this version does not understand."""
    return BadInput(
        "backup_newer", f"This backup was made by a newer Earshot, {manifest.version[:32]}.",
        "Install that version, then restore it there.",
    )  # fmt: skip


def _extract(archive: tarfile.TarFile, target: Path, source: Path) -> None:
    """Copy plain files of known names; whatever else a tar can hold is refused, not skipped."""
    seen: set[str] = set()
    for info in archive:
        if not info.isreg() or info.issparse() or not is_ours(info.name):
            raise _strange(source, info.name)
        if info.name in seen or len(seen) >= _MOST_FILES:
            raise _strange(source, info.name)
        if info.name in (MANIFEST, MODELS, SETTINGS) and info.size > _LARGEST_READ:
            raise _strange(source, info.name)
        seen.add(info.name)
        content = archive.extractfile(info)
        if content is None:
            raise _strange(source, info.name)
        path = target / info.name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(content, file)
            if file.tell() != info.size:
                raise damaged(source)
    if not {MANIFEST, MODELS} <= seen:
        raise damaged(source)


def _strange(source: Path, name: str) -> ApplianceError:
    said = "".join(sign if sign.isprintable() else "?" for sign in name[:80])
    return BadInput(
        "backup_strange", f"{source.name} holds something that no backup of Earshot has: {said!r}.",
        "Somebody else may have made it: take one that you know.",
    )  # fmt: skip


def _read(path: Path, kind: type[Kind], source: Path) -> Kind:
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise damaged(source) from error


def _text(path: Path, source: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    except UnicodeDecodeError as error:
        raise damaged(source) from error


def _sync(folder: Path) -> None:
    """Have everything on the disk before the old state is touched."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(path)
    sync_folder(folder)
