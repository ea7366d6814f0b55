"""Where a download grows until it is whole and checked, and how it gets into place."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

from appliance.catalogue.digests import sha256_of
from appliance.errors import ApplianceError
from appliance.files import sync_folder

# Left free for the database and the logs.
RESERVE_BYTES = 200 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Staging:
    """The folders of one model's download, on the models folder's own file system."""

    root: Path
    model_id: str

    @property
    def folder(self) -> Path:
        """Everything of this download; kept when it is interrupted."""
        return self.root / ".pull" / self.model_id

    @property
    def downloads(self) -> Path:
        """Bytes as they come: wheels, or the hub's files with their unfinished parts."""
        return self.folder / "downloads"

    @property
    def ready(self) -> Path:
        """Checked files, named as they will be."""
        return self.folder / "ready"

    @property
    def lock_file(self) -> Path:
        """Held by the pull that works here."""
        return self.root / ".pull" / f"{self.model_id}.lock"

    def prepare(self) -> None:
        """Make the folders."""
        self.downloads.mkdir(parents=True, exist_ok=True)
        self.ready.mkdir(parents=True, exist_ok=True)

    def commit(self, names: list[str]) -> None:
        """Put the checked files into place: all of them, or none.

        A folder that was there is moved aside first, so a pull killed between the two renames
        leaves no model; the next pull finds the checked files here and finishes.
        """
        for name in names:
            with (self.ready / name).open("rb") as file:
                os.fsync(file.fileno())
        for stray in {path.name for path in self.ready.iterdir()} - set(names):
            (self.ready / stray).unlink()
        sync_folder(self.ready)
        target = self.root / self.model_id
        if target.exists():
            aside = self.folder / "replaced"
            shutil.rmtree(aside, ignore_errors=True)
            target.rename(aside)
        self.ready.rename(target)
        sync_folder(self.root)
        shutil.rmtree(self.folder)


def check_space(folder: Path, needed: int) -> None:
    """Refuse a download that cannot fit.

    Args:
        folder: any folder on the file system, which must exist.
        needed: bytes still to be written.

    Raises:
        ApplianceError: says how much is needed and how much is free.
    """
    free = shutil.disk_usage(folder).free
    if needed + RESERVE_BYTES > free:
        raise disk_full(folder, needed + RESERVE_BYTES, free)


def disk_full(folder: Path, needed: int, free: int) -> ApplianceError:
    """The one sentence about a full disk."""
    return ApplianceError(
        "disk_full",
        f"The disk of {folder} is too full: {megabytes(needed)} are needed and {megabytes(free)} are free.",
        "Make room, or name another folder with APPLIANCE_MODELS_DIR.",
        can_retry=True,
    )


def megabytes(count: int) -> str:
    """A size for people, e.g. ``145 MB``."""
    return f"{count / 1e6:,.0f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} kB"


def about(count: int) -> str:
    """A size that is roughly known, for people, e.g. ``about 480 MB``."""
    return f"about {round(count / 1e6, -1):,.0f} MB"


def refuse_wrong_bytes(path: Path, wanted: str, origin: str) -> None:
    """Delete the file unless it has this SHA-256.

    Raises:
        ApplianceError: it had another one.
    """
    if sha256_of(path) != wanted:
        path.unlink()
        raise ApplianceError(
            "wrong_digest", f"{path.name} from {origin} does not have the SHA-256 that is expected; it was deleted.",
            "Try again; if it happens again, the source has changed and must not be trusted.",
            can_retry=True,
        )  # fmt: skip
