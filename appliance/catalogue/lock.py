"""models.lock.json: the digests of models that were pinned at download."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.catalogue.entries import Sha256
from appliance.errors import ApplianceError
from appliance.files import exclusive, write_whole

LOCK_NAME = "models.lock.json"


class LockedFile(BaseModel):
    """What was found at download."""

    model_config = ConfigDict(extra="forbid")
    sha256: Sha256
    size: int = Field(ge=0)


class LockedModel(BaseModel):
    """One model's files and the revision they came from."""

    model_config = ConfigDict(extra="forbid")
    revision: str = ""
    files: dict[str, LockedFile]


class Lock(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid")
    models: dict[str, LockedModel] = Field(default_factory=dict)


def read_lock(folder: Path) -> Lock:
    """The lock of this models folder; empty if there is none.

    Raises:
        ApplianceError: it cannot be read.
    """
    path = folder / LOCK_NAME
    try:
        return Lock.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Lock()
    except (OSError, ValidationError) as error:
        raise ApplianceError(
            "lock_unreadable", f"{path} cannot be read.", "Remove it and pull the models again."
        ) from error


def add_to_lock(folder: Path, model_id: str, model: LockedModel) -> None:
    """Keep one model's digests; safe beside other pulls."""
    with exclusive(folder / ".pull" / "lock"):
        lock = read_lock(folder)
        lock.models[model_id] = model
        write_atomically(folder / LOCK_NAME, lock.model_dump(mode="json"))


def drop_from_lock(folder: Path, model_id: str) -> None:
    """Forget one model's digests; safe beside pulls."""
    with exclusive(folder / ".pull" / "lock"):
        lock = read_lock(folder)
        if lock.models.pop(model_id, None) is not None:
            write_atomically(folder / LOCK_NAME, lock.model_dump(mode="json"))


def write_atomically(path: Path, value: object) -> None:
    """Write JSON so that a reader, or a power cut, meets the old file or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Set-up may run as another account than the box: the embedded models' lock is for all to read.
    write_whole(path, json.dumps(value, indent=2) + "\n", mode=0o666)
