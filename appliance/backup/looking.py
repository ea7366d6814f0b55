"""What there is to say of the backups: for the page, the API and the command."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from appliance.backup.making import NO_DATABASE, alone, make
from appliance.backup.nights import Holding, holdings, next_due
from appliance.backup.shelf import Backup, Shelf, State
from appliance.catalogue.fit import text as size_text
from appliance.settings import Settings
from appliance.store import Store
from appliance.store.engine import sqlite_path


@dataclass(frozen=True)
class Shown:
    """One backup, and what it holds of deleted calls.

    Attributes:
        name: of the file.
        made_at: in UTC.
        size: in bytes.
        state: as ``Backup.state``.
        checked_at: when its digest was last compared.
        sha256: of the file; empty if nobody knows.
        version: of Earshot, then; empty if nobody knows.
        database: whether the calls, the password and the keys are in it; None: nobody knows.
        calls: of how many calls it holds words.
        recipient: what opens it is this key's other part; empty if nobody knows.
        holding: words of calls that are deleted.
    """

    name: str
    made_at: datetime
    size: int
    state: State
    checked_at: datetime | None
    sha256: str
    version: str
    database: bool | None
    calls: int
    recipient: str
    holding: Holding

    @property
    def size_said(self) -> str:
        """How large it is, in words."""
        # A box that has held few calls has a backup of a tenth of a MiB.
        return size_text(self.size) if self.size >= 1 << 20 else f"{self.size / 1024:.0f} KiB"

    @property
    def said(self) -> str:
        """What it holds, in words."""
        if self.database is None:
            # Without its list of calls a damaged one cannot be marked.
            is_damaged = self.state == "damaged"
            lost = "nobody can tell, maybe words of deleted calls"
            return lost if is_damaged else "not made here: only its key tells"
        if not self.database:
            return "everything but the calls, the password and the keys"
        if not self.holding.calls:
            return f"the words of {_calls(self.calls)}"
        others = self.calls - self.holding.calls
        return f"{self.marked}, and of {_others(others)}" if others else self.marked

    @property
    def marked(self) -> str:
        """What it holds of deleted calls, and until when; empty if nothing."""
        if not self.holding.calls:
            return ""
        until = "it is deleted"
        if self.holding.until:
            until = self.holding.until.astimezone().strftime("%Y-%m-%d")
        number = self.holding.calls
        deleted = "1 deleted call" if number == 1 else f"{number} deleted calls"
        return f"holds the words of {deleted} until {until}"


@dataclass(frozen=True)
class Overview:
    """All of them.

    Attributes:
        backups: newest first.
        folder: where they lie.
        recipient: what they are sealed for; empty: none are made.
        due: the next one; None: none is made by itself.
        keep: how many are kept.
        database: whether the box's database is in them.
    """

    backups: list[Shown]
    folder: str
    recipient: str
    due: datetime | None
    keep: int
    database: bool

    @property
    def marked(self) -> list[Shown]:
        """Those that hold words of deleted calls."""
        return [one for one in self.backups if one.holding.calls]

    @property
    def still_held(self) -> str:
        """How many hold words of deleted calls, and until when; empty if none does."""
        if not (marked := self.marked):
            return ""
        number = "1 backup holds" if len(marked) == 1 else f"{len(marked)} backups hold"
        ends = [one.holding.until for one in marked]
        known = [end for end in ends if end is not None]
        until = "they are deleted"
        if known and len(known) == len(ends):
            until = max(known).astimezone().strftime("%Y-%m-%d")
        return f"{number} words of deleted calls, until {until}."

    @property
    def plan(self) -> str:
        """When the next one is made, in a sentence."""
        if self.due is None:
            return "No backup is made by itself: no key is set. `scripts/appliance backup key` makes one."
        when = self.due.astimezone().strftime("%Y-%m-%d at %H:%M")
        kept = "The newest one is" if self.keep == 1 else f"The newest {self.keep} are"
        said = f"The next one is made on {when}. {kept} kept, in {self.folder}."
        return said if self.database else f"{said} {NO_DATABASE}"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "recipient": self.recipient,
            "folder": self.folder,
            "keep": self.keep,
            "next_at": self.due.astimezone(UTC).isoformat() if self.due else None,
            "database": self.database,
            "backups": [one_as_json(one) for one in self.backups],
        }


def one_as_json(one: Shown) -> dict[str, Any]:
    """One backup for programs."""
    until = one.holding.until
    return {
        "name": one.name,
        "made_at": one.made_at.isoformat(),
        "size": one.size,
        "state": one.state,
        "checked_at": one.checked_at.isoformat() if one.checked_at else None,
        "sha256": one.sha256,
        "version": one.version,
        "database": one.database,
        "calls": one.calls,
        "recipient": one.recipient,
        "deleted_calls": one.holding.calls,
        "held_until": until.astimezone(UTC).isoformat() if until and one.holding.calls else None,
    }


def look(settings: Settings, store: Store | None, now: datetime | None = None) -> Overview:
    """Everything about the backups.

    Args:
        settings: the box's.
        store: says which calls there still are; None: there is none yet.
        now: the time of day.

    Raises:
        ApplianceError: the folder is not there, or the database cannot be read.
    """
    backups = Shelf(settings).all()
    now = now or datetime.now(UTC)
    due = next_due(now, settings.backup.hour) if settings.backup.recipient else None
    living = store.calls.ids() if store and backups else frozenset[str]()
    held = holdings(backups, living, settings.backup.keep, due)
    return Overview(
        [_shown(one, held[one.name]) for one in backups], str(Shelf(settings).folder),
        settings.backup.recipient, due, settings.backup.keep,
        sqlite_path(settings.store_url) is not None,
    )  # fmt: skip


def replace_marked(settings: Settings, store: Store) -> tuple[Backup, list[str]]:
    """Make a backup, then delete those that hold words of deleted calls.

    Returns:
        The new one, and the names of those that are gone.

    Raises:
        ApplianceError: as ``make``; then none is deleted.
    """
    made = make(settings)
    shelf = Shelf(settings)
    with alone(settings):
        marked = [one.name for one in look(settings, store).marked if one.name != made.name]
        for name in marked:
            shelf.remove(name)
    return made, marked


def shown(settings: Settings, store: Store, backup: Backup) -> Shown:
    """One of them, as it is in the list."""
    overview = look(settings, store)
    found = (one for one in overview.backups if one.name == backup.name)
    return next(found, _shown(backup, Holding(0, None)))


def _shown(one: Backup, holding: Holding) -> Shown:
    card = one.card
    return Shown(
        one.name, one.made_at, one.size, one.state, card.checked_at if card else None,
        card.sha256 if card else "", card.version if card else "",
        card.database if card else None, len(one.calls), card.recipient if card else "", holding,
    )  # fmt: skip


def _calls(number: int) -> str:
    return "no call" if not number else "1 call" if number == 1 else f"{number} calls"


def _others(number: int) -> str:
    return "1 other" if number == 1 else f"{number} others"
