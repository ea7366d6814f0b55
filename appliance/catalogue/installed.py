"""What is known and what is here: the catalogue over the models folders."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from pathlib import Path

from appliance.catalogue.entries import (
    CATALOGUE_FILE,
    HubSource,
    ModelEntry,
    PackageSource,
    Task,
    load_entries,
)
from appliance.catalogue.lock import read_lock
from appliance.catalogue.own import plain_file, scan
from appliance.catalogue.selection import read_selection, wished
from appliance.errors import NotFound
from appliance.settings import Settings


@dataclasses.dataclass(frozen=True)
class InstalledModel:
    """A model whose files are all here. Being here says nothing about their digests."""

    id: str
    task: Task
    folder: Path
    files: dict[str, Path]
    """By role: ``model``, ``config``, ``tokenizer``, ``vocabulary``, …"""
    entry: ModelEntry

    def expected(self) -> dict[Path, str]:
        """SHA-256 by file, from the catalogue or else the lock; unknown ones are left out."""
        locked = read_lock(self.folder.parent).models.get(self.id)
        found: dict[Path, str] = {}
        for file in self.entry.files:
            digest = file.sha256
            if digest is None and locked and file.name in locked.files:
                digest = locked.files[file.name].sha256
            if digest:
                found[self.files[file.role]] = digest
        return found


# Named here because inside Catalogue ``list`` is a method.
InstalledModels = list[InstalledModel]
_Own = list[tuple[ModelEntry, Path]]


@dataclasses.dataclass(frozen=True)
class ModelStatus:
    """One row of ``models list``."""

    id: str
    task: Task
    title: str
    installed: bool
    selected: bool
    embedded: bool
    size: int | None
    """Bytes; None while unknown."""
    about_bytes: int | None
    """About the size, where only that is known."""
    licence: str
    languages: list[str]
    source: str
    digest: str
    """``sha256``, ``pinned at download``, ``locked`` or ``own``."""
    note: str
    folder: str
    """Where it lies; empty if it is not installed."""


ModelStatuses = list[ModelStatus]


class Catalogue:
    """The models of ``config/models.yaml`` and the owner's own, looked up by id.

    Folders are searched in this order: pulled, embedded, own files.
    """

    def __init__(self, settings: Settings, file: Path = CATALOGUE_FILE) -> None:
        self._settings = settings
        self._entries = load_entries(file)

    @property
    def entries(self) -> dict[str, ModelEntry]:
        """The catalogue's models by id."""
        return dict(self._entries)

    def entry(self, model_id: str) -> ModelEntry:
        """A catalogue model.

        Raises:
            NotFound: the catalogue does not know it.
        """
        try:
            return self._entries[model_id]
        except KeyError:
            raise NotFound(
                "model_unknown", f"The catalogue has no model called {model_id!r}.",
                "`scripts/appliance models list` shows every id.",
            ) from None  # fmt: skip

    def selected(self, task: Task) -> str:
        """Id of the model that serves this task: the last switch's, else the settings'.

        While a switch tries its model, that one.
        """
        return read_selection(self._settings).loaded(task) or wished(self._settings, task)

    def installed(self, task: Task, model_id: str) -> InstalledModel:
        """The files of an installed model.

        Raises:
            NotFound: it is not here, or it is another task's; the hint says how to get it.
        """
        found = self.find(model_id)
        if found.task != task:
            raise NotFound(
                "model_wrong_task", f"The model {model_id!r} is a model for {found.task}, not {task}.",
                f"Choose one of `scripts/appliance models list --task {task}`.",
            )  # fmt: skip
        return found

    def find(self, model_id: str) -> InstalledModel:
        """The files of an installed model of any task.

        Raises:
            NotFound: it is not here; the hint says how to get it.
        """
        found = self._find(model_id)
        if found is None:
            if model_id in self._entries:
                hint = f"Fetch it with `scripts/appliance models pull {model_id}`."
            else:
                hint = (
                    f"Put its files into {self._settings.models_path}, or choose one of "
                    "`scripts/appliance models list`."
                )
            raise NotFound("model_missing", f"The model {model_id!r} is not installed.", hint)
        return found

    def all_installed(self) -> InstalledModels:
        """Every model that is here, the catalogue's first."""
        known = [found for model_id in self._entries if (found := self._find(model_id))]
        return known + [_installed(entry, folder) for entry, folder in self._own()]

    def list(self) -> ModelStatuses:
        """Every known model and every own one."""
        selected = {self.selected("stt"), self.selected("llm"), self.selected("tts")}
        rows = [
            self._status(entry, self._find(model_id), model_id in selected)
            for model_id, entry in self._entries.items()
        ]
        rows += [
            self._status(entry, _installed(entry, folder), entry.id in selected)
            for entry, folder in self._own()
        ]
        return rows

    def _find(self, model_id: str) -> InstalledModel | None:
        entry = self._entries.get(model_id)
        if entry:
            for root in (self._settings.models_path, self._settings.builtin_models_dir):
                folder = root / entry.id
                if all(plain_file(folder, file.name) for file in entry.files):
                    return _installed(entry, folder)
        for own, folder in self._own():
            if own.id == model_id:
                return _installed(own, folder)
        return None

    def _own(self) -> _Own:
        """Own models; folders of catalogue models are not the owner's."""
        root = self._settings.models_path
        taken = {root / model_id for model_id in self._entries}
        return [(entry, folder) for entry, folder in scan(root) if folder not in taken]

    def _status(
        self, entry: ModelEntry, found: InstalledModel | None, selected: bool
    ) -> ModelStatus:
        digest = entry.pinned
        size = entry.size
        if found:
            # It may be deleted at this moment.
            with suppress(FileNotFoundError):
                size = sum(path.stat().st_size for path in found.files.values())
            if digest == "pinned at download" and len(found.expected()) == len(entry.files):
                digest = "locked"
        return ModelStatus(
            id=entry.id, task=entry.task, title=entry.title, installed=found is not None,
            selected=selected, embedded=entry.embedded, size=size,
            about_bytes=entry.about_bytes if size is None else None, licence=entry.licence,
            languages=entry.languages, source=source_text(entry), digest=digest,
            note=entry.note, folder=str(found.folder) if found else "",
        )  # fmt: skip


def source_text(entry: ModelEntry) -> str:
    """Where a model comes from, in words."""
    if isinstance(entry.source, PackageSource):
        return "package index: " + ", ".join(
            f"{package.name} {package.version}" for package in entry.source.packages
        )
    if isinstance(entry.source, HubSource):
        at = f"@{entry.source.revision[:12]}" if entry.source.revision else ""
        return f"hub: {entry.source.repo}{at}"
    return "own files"


def _installed(entry: ModelEntry, folder: Path) -> InstalledModel:
    files = {file.role: folder / file.name for file in entry.files}
    return InstalledModel(entry.id, entry.task, folder, files, entry)
