"""What a backup holds: the names in it, and how they are gathered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from appliance import __version__
from appliance.backup.sealing import Member
from appliance.catalogue import Catalogue
from appliance.catalogue.entries import ModelId, Task
from appliance.catalogue.lock import Lock, read_lock
from appliance.catalogue.selection import read_selection
from appliance.settings import Settings

FORMAT = 1
MANIFEST, SETTINGS, MODELS, DATABASE = (
    "manifest.json",
    "settings.toml",
    "models.json",
    "appliance.db",
)
FOLDERS = ("secrets", "tls", "personas")
"""Taken with everything in them that is not made anew."""
# The front door's own certificates: for the addresses of this machine, and of a few months.
_MADE_ANEW = "tls/caddy/"
_DEEPEST = 5


class Manifest(BaseModel):
    """What the backup is; its first file."""

    model_config = ConfigDict(extra="ignore")
    format: int
    made_at: datetime
    version: str
    database: bool


class KeptModel(BaseModel):
    """A model that was installed. The files themselves are in no backup."""

    model_config = ConfigDict(extra="ignore")
    task: Task
    digests: dict[str, str] = Field(default_factory=dict)
    """SHA-256 by file name, where it is known."""


class KeptModels(BaseModel):
    """Which models were there, and which served."""

    model_config = ConfigDict(extra="ignore")
    current: dict[Task, ModelId] = Field(default_factory=dict)
    wishes: dict[Task, str] = Field(default_factory=dict)
    lock: Lock = Field(default_factory=Lock)
    installed: dict[str, KeptModel] = Field(default_factory=dict)


def gather(settings: Settings, database: Path | None, made_at: datetime) -> Iterator[Member]:
    """Every file of a backup.

    Args:
        settings: the box's.
        database: a copy that nobody changes; None: it is on a server.
        made_at: in UTC.

    Raises:
        ApplianceError: the list of the models cannot be read.
        OSError: a file cannot be read.
    """
    manifest = Manifest(
        format=FORMAT, made_at=made_at, version=__version__, database=database is not None
    )
    yield _json(MANIFEST, manifest.model_dump(mode="json"))
    yield _json(MODELS, models_of(settings).model_dump(mode="json"))
    if settings.settings_file.exists():
        yield Member(SETTINGS, settings.settings_file.read_bytes())
    for folder in FOLDERS:
        for path in files_in(settings.data_dir / folder):
            name = path.relative_to(settings.data_dir).as_posix()
            if is_ours(name) and not name.startswith(_MADE_ANEW):
                yield Member(name, path.read_bytes())
    if database is not None:
        yield Member(DATABASE, database)


def is_ours(name: str) -> bool:
    """Whether a backup may hold a file of this name."""
    if name in (MANIFEST, MODELS, SETTINGS, DATABASE):
        return True
    folder, *rest = name.split("/")
    return (
        folder in FOLDERS
        and 0 < len(rest) <= _DEEPEST
        and name.isprintable()
        and "\\" not in name
        and all(part and not part.startswith(".") and len(part) <= 200 for part in rest)
    )


def models_of(settings: Settings) -> KeptModels:
    """Which models are there, and which serve for good, whatever is being tried."""
    selection = read_selection(settings)
    settled = {task: selection.settled(task) for task in (*selection.current, *selection.last_good)}
    return KeptModels(
        current={task: name for task, name in settled.items() if name},
        wishes=selection.wishes,
        lock=read_lock(settings.models_path),
        installed={
            one.id: KeptModel(
                task=one.task,
                digests={path.name: digest for path, digest in one.expected().items()},
            )
            for one in Catalogue(settings).all_installed()
        },
    )


def files_in(folder: Path) -> list[Path]:
    """Every plain file of a folder, and of those in it; neither links nor drafts."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _json(name: str, value: dict[str, Any]) -> Member:
    return Member(name, (json.dumps(value, indent=2) + "\n").encode())
