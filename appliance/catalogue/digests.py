"""Whether a model's bytes are the right ones. Loaders accept damaged files; a digest does not."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Literal

from appliance import logs
from appliance.catalogue.installed import Catalogue, InstalledModel
from appliance.catalogue.lock import write_atomically
from appliance.errors import ApplianceError
from appliance.settings import Settings

_BLOCK = 1 << 20
_CACHE_NAME = "digests.json"

log = logs.get(__name__)


def sha256_of(path: Path) -> str:
    """A file's SHA-256, as hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class FileCheck:
    """One file of a verified model."""

    name: str
    state: Literal["ok", "damaged", "unknown"]
    """``unknown``: neither the catalogue nor the lock has a digest."""
    sha256: str


@dataclasses.dataclass(frozen=True)
class ModelCheck:
    """A verified model."""

    id: str
    files: list[FileCheck]

    @property
    def ok(self) -> bool:
        """Whether no file is damaged."""
        return all(file.state != "damaged" for file in self.files)


class DigestCache:
    """Digests of files that have not changed since, kept in the run folder.

    A file counts as unchanged while path, size, mtime and inode are the same; ``verify`` never
    asks the cache.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._known: dict[str, list[object]] = json.loads(path.read_bytes())
        except (OSError, ValueError):
            # A lost or damaged cache only costs the time to hash again.
            self._known = {}

    def sha256(self, path: Path) -> str:
        """The file's SHA-256, hashed only if it is new or has changed."""
        stat = path.stat()
        key, mark = str(path), [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        known = self._known.get(key)
        if known and known[:3] == mark:
            return str(known[3])
        digest = sha256_of(path)
        self._known[key] = [*mark, digest]
        return digest

    def keep(self) -> None:
        """Write the cache; without a run folder that can be written it only costs time."""
        if not self._path.parent.is_dir():
            return
        try:
            write_atomically(self._path, self._known)
        except OSError as error:
            log.warning("digest cache not kept", path=str(self._path), errno=error.errno)


def verify_model(model: InstalledModel, cache: DigestCache | None = None) -> ModelCheck:
    """Hash every file of a model and compare with the catalogue or the lock."""
    expected = model.expected()
    checks = []
    for path in model.files.values():
        if cache and path not in expected:
            continue
        found = cache.sha256(path) if cache else sha256_of(path)
        wanted = expected.get(path)
        state: Literal["ok", "damaged", "unknown"] = "ok" if found == wanted else "damaged"
        checks.append(FileCheck(path.name, state if wanted else "unknown", found))
    return ModelCheck(model.id, checks)


def verify_quick(settings: Settings) -> None:
    """Check the models that are about to be used, before anything is started.

    The first check hashes them, about a second per GB; later ones look at size and time only.

    Raises:
        ApplianceError: one of them is missing or damaged, in one sentence.
    """
    catalogue = Catalogue(settings)
    cache = DigestCache(settings.run_dir / _CACHE_NAME)
    try:
        for model in models_in_use(settings, catalogue):
            refuse_damaged(model, verify_model(model, cache))
    finally:
        cache.keep()


def models_in_use(settings: Settings, catalogue: Catalogue) -> list[InstalledModel]:
    """The selected models of the tasks that this box does itself.

    Raises:
        NotFound: one of them is not installed.
    """
    remote = {"stt": settings.stt.url, "llm": settings.llm.url, "tts": settings.tts.url}
    return [
        catalogue.installed(task, catalogue.selected(task))
        for task in ("stt", "llm", "tts")
        if not remote[task]
    ]


def refuse_damaged(model: InstalledModel, check: ModelCheck) -> None:
    """Raise if a file of the model has another digest than it should.

    Raises:
        ApplianceError: names the model, the file and the way out.
    """
    for file in check.files:
        if file.state == "damaged":
            raise ApplianceError(
                "model_damaged",
                f"The file {file.name} of the model {model.id!r} in {model.folder} is damaged: its SHA-256 is wrong.",
                f"Fetch it again with `scripts/appliance models pull {model.id}`.",
            )  # fmt: skip
