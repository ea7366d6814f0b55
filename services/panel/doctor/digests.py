"""Every byte of every installed model against its SHA-256, in the background, with progress."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from appliance import logs
from appliance.catalogue import Catalogue, InstalledModel
from appliance.errors import ApplianceError
from appliance.settings import Settings

_BLOCK = 1 << 20

log = logs.get(__name__)


class ModelDigest(BaseModel):
    """One model. ``unknown``: nobody has written down what its bytes should be."""

    id: str
    state: Literal["waiting", "ok", "damaged", "unknown", "unreadable"]
    message: str
    hint: str


class DigestState(BaseModel):
    """How far the check is."""

    state: Literal["idle", "running", "done"]
    done_bytes: int
    total_bytes: int
    models: list[ModelDigest]
    problem: str
    """Why nothing could be checked at all; empty: nothing is wrong with that."""


class DigestCheck:
    """Hashes once at a time; about a second per gigabyte on a good disk."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._task: asyncio.Task[None] | None = None
        self._stopped = threading.Event()
        self._done = self._total = 0
        self._models: list[ModelDigest] = []
        self._problem = ""

    def state(self) -> DigestState:
        """How far it is now."""
        running = self._task is not None and not self._task.done()
        return DigestState(
            state="running" if running else "done" if self._task else "idle",
            done_bytes=self._done, total_bytes=self._total, models=list(self._models),
            problem=self._problem,
        )  # fmt: skip

    def start(self) -> DigestState:
        """Begin, unless it runs already."""
        if self._task is None or self._task.done():
            self._done = self._total = 0
            self._models, self._problem = [], ""
            self._task = asyncio.create_task(asyncio.to_thread(self._run))
        return self.state()

    async def close(self) -> None:
        """Stop where it is."""
        self._stopped.set()
        if self._task is not None:
            await asyncio.wait({self._task})

    def _run(self) -> None:
        try:
            models = Catalogue(self._settings).all_installed()
            self._total = sum(_size(model) for model in models)
        except (ApplianceError, OSError) as error:
            log.warning("digests_not_checked", error=type(error).__name__)
            self._problem = (
                str(error)
                if isinstance(error, ApplianceError)
                else "A model's file cannot be read."
            )
            return
        self._models = [ModelDigest(id=m.id, state="waiting", message="", hint="") for m in models]
        read = 0
        for number, model in enumerate(models):
            if self._stopped.is_set():
                return
            read += _size(model)
            self._models[number] = self._check(model)
            # A damaged model is not read to its end.
            self._done = read

    def _check(self, model: InstalledModel) -> ModelDigest:
        try:
            expected = model.expected()
            for path in model.files.values():
                found, wanted = self._sha256(path), expected.get(path)
                if wanted and found != wanted:
                    return ModelDigest(
                        id=model.id, state="damaged",
                        message=f"The file {path.name} is damaged: its SHA-256 is wrong.",
                        hint=f"Fetch it again: `scripts/appliance models pull {model.id}`, or the page Models.",
                    )  # fmt: skip
        except (OSError, ApplianceError):
            return ModelDigest(
                id=model.id, state="unreadable", message="A file of it cannot be read.",
                hint=f"Check the owner and the permissions of {model.folder}.",
            )  # fmt: skip
        if len(expected) < len(model.files):
            return ModelDigest(
                id=model.id, state="unknown", hint="",
                message="It can be read; nobody has written down what its bytes should be.",
            )  # fmt: skip
        return ModelDigest(id=model.id, state="ok", message="Every byte is right.", hint="")

    def _sha256(self, path: Path) -> str:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while (block := file.read(_BLOCK)) and not self._stopped.is_set():
                digest.update(block)
                self._done += len(block)
        return digest.hexdigest()


def _size(model: InstalledModel) -> int:
    return sum(path.stat().st_size for path in model.files.values())
