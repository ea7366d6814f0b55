"""The folder of backups: what lies in it, whether each is whole, and which are kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance import logs
from appliance.backup.sealing import digest_of
from appliance.errors import ApplianceError, NotFound
from appliance.files import sync_folder, write_whole
from appliance.settings import Settings

NAME = r"^earshot-[0-9]{8}T[0-9]{6}Z\.age$"
_NAME = re.compile(NAME)
_TIME = "earshot-%Y%m%dT%H%M%SZ"

State = Literal["whole", "damaged", "unknown"]
log = logs.get(__name__)


class FolderGone(ApplianceError):
    """The folder that the owner named is not there."""

    http_status = 409


class Card(BaseModel):
    """What is known of a backup without its key; lies beside it, and holds nothing that was said."""

    model_config = ConfigDict(extra="ignore")
    made_at: datetime
    size: int = Field(ge=0)
    sha256: str
    version: str
    """Of Earshot, when it was made."""
    recipient: str
    database: bool
    calls: str
    """Ids of the calls whose words it holds, with spaces between."""
    personas: int
    checked_at: datetime
    """When its digest was last compared."""
    whole: bool


@dataclass(frozen=True)
class Backup:
    """One backup.

    Attributes:
        path: the sealed file.
        size: in bytes.
        made_at: in UTC.
        card: None where there is none that can be read.
        is_ours: whether there is a card at all; a copy from elsewhere lies here without one.
    """

    path: Path
    size: int
    made_at: datetime
    card: Card | None
    is_ours: bool

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def calls(self) -> frozenset[str]:
        """Ids of the calls whose words it holds."""
        return frozenset(self.card.calls.split()) if self.card else frozenset()

    @property
    def state(self) -> State:
        """Whether it is what was written; as of the last check, but for its size."""
        if self.card is None:
            return "damaged" if self.is_ours else "unknown"
        return "whole" if self.card.whole and self.card.size == self.size else "damaged"


class Shelf:
    """The backups of one box.

    Args:
        settings: say where they lie and how many are kept.
    """

    def __init__(self, settings: Settings) -> None:
        self._given = settings.backup.dir
        self.folder = (self._given or settings.data_dir / "backups").expanduser().absolute()
        self._keep = settings.backup.keep

    def prepare(self) -> None:
        """Make the folder, if it is the box's own.

        Raises:
            ApplianceError: it is not there or cannot be written.
        """
        # A disk that is not plugged in must not become a folder on another one.
        if self._given and not self.folder.is_dir():
            raise self._vanished()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self.unusable(error) from error

    def all(self) -> list[Backup]:
        """Every backup, newest first.

        Raises:
            ApplianceError: the folder is not there or cannot be read.
        """
        try:
            names = [path for path in self.folder.iterdir() if _NAME.match(path.name)]
        except FileNotFoundError:
            if self._given:
                raise self._vanished() from None
            return []
        except OSError as error:
            raise self.unusable(error) from error
        found = (self._read(path) for path in names)
        return sorted((one for one in found if one), key=lambda one: one.made_at, reverse=True)

    def find(self, name: str) -> Backup:
        """The backup of this name.

        Raises:
            NotFound: there is none.
        """
        found = self._read(self.folder / name) if _NAME.match(name) else None
        if found is None:
            raise NotFound(
                "backup_unknown", f"There is no backup {name[:64]!r}.",
                "`scripts/appliance backup list` shows every one.",
            )  # fmt: skip
        return found

    def name_for(self, moment: datetime) -> Path:
        """Where a backup of this second goes."""
        return self.folder / f"{moment.astimezone(UTC).strftime(_TIME)}.age"

    def check(self, backup: Backup) -> Backup:
        """Compare its digest, and note what came out.

        Raises:
            ApplianceError: the folder cannot be written.
        """
        if backup.card is None:
            return backup
        try:
            whole = digest_of(backup.path) == backup.card.sha256
        except OSError as error:
            log.warning("backup_unreadable", name=backup.name, error=type(error).__name__)
            whole = False
        self.note(
            backup.path, backup.card.model_copy(update={"whole": whole, "checked_at": _now()})
        )
        return self.find(backup.name)

    def note(self, path: Path, card: Card) -> None:
        """Put the card beside the file.

        Raises:
            ApplianceError: the folder cannot be written.
        """
        try:
            write_whole(_card_of(path), card.model_dump_json(indent=2) + "\n")
        except OSError as error:
            raise self.unusable(error) from error

    def remove(self, name: str) -> None:
        """Delete one.

        Raises:
            NotFound: there is none.
            ApplianceError: it cannot be deleted.
        """
        path = self.find(name).path
        try:
            path.unlink(missing_ok=True)
            _card_of(path).unlink(missing_ok=True)
            sync_folder(self.folder)
        except OSError as error:
            raise self.unusable(error) from error

    def prune(self, made: Backup) -> list[str]:
        """Delete those beyond the newest that are kept; damaged ones keep no place. Returns names.

        A file without a card was put here by somebody, and stays.

        Args:
            made: the one that was just made, which stays. Any dated later is from before somebody
                set the clock right: it keeps no place, and stays.
        """
        ours = [one for one in self.all() if one.is_ours and one.made_at <= made.made_at]
        sound = [one for one in ours if one.state != "damaged"]
        if len(sound) < self._keep:
            return []
        oldest = sound[self._keep - 1].made_at
        gone = [one.name for one in ours if one.made_at < oldest]
        for name in gone:
            self.remove(name)
        return gone

    def sweep(self) -> None:
        """Remove what a backup that was interrupted has left."""
        for path in self.folder.glob(".earshot-*"):
            path.unlink(missing_ok=True)
        for path in self.folder.glob("earshot-*.json"):
            if not path.with_suffix(".age").exists():
                path.unlink(missing_ok=True)

    def unusable(self, error: OSError) -> ApplianceError:
        """What to say when a file or a folder failed."""
        reason = (error.strerror or "it failed").lower()
        return ApplianceError(
            "backup_failed", f"Backups cannot be kept in {error.filename or self.folder}: {reason}.",
            "Free some space there or check its owner, then make the backup again.", can_retry=True,
        )  # fmt: skip

    def _vanished(self) -> FolderGone:
        return FolderGone(
            "backup_folder_gone", f"The folder of the backups, {self.folder}, is not there.",
            "Plug in or mount its disk, or set backup.dir to another folder.", can_retry=True,
        )  # fmt: skip

    def _read(self, path: Path) -> Backup | None:
        try:
            size = path.stat().st_size
            made_at = datetime.strptime(path.stem, _TIME).replace(tzinfo=UTC)
        except (OSError, ValueError):
            # Deleted at this moment, or a 31st of February.
            return None
        card = _card(path)
        return Backup(path, size, made_at, card or None, card is not None)


def _card_of(path: Path) -> Path:
    return path.with_suffix(".json")


def _card(path: Path) -> Card | Literal[False] | None:
    """The card; False: it cannot be read; None: there is none."""
    try:
        return Card.model_validate_json(_card_of(path).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        log.warning("backup_card_unreadable", name=path.name, error=type(error).__name__)
        return False


def _now() -> datetime:
    return datetime.now(UTC)
