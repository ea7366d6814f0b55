"""When the next backup is due, and how long one is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from appliance.backup.shelf import Backup

_CLOCK_SLACK = timedelta(hours=1)


def last_due(now: datetime, hour: int) -> datetime:
    """The latest moment, now or before, at which a backup was due.

    Args:
        now: with a zone; that of the machine counts.
        hour: of the day, 0 to 23.
    """
    today = _at(now, hour, 0)
    return today if today <= now else _at(now, hour, -1)


def next_due(now: datetime, hour: int) -> datetime:
    """The first moment after now at which a backup is due."""
    today = _at(now, hour, 0)
    return today if today > now else _at(now, hour, 1)


def is_ahead(backup: Backup, now: datetime) -> bool:
    """Whether it is from the future: it was made before somebody set the clock right."""
    return backup.made_at > now + _CLOCK_SLACK


def is_due(backups: Sequence[Backup], now: datetime, hour: int) -> bool:
    """Whether a backup should have been made and was not, as when the box was off by night."""
    past = [one.made_at for one in backups if one.card and not is_ahead(one, now)]
    return not past or max(past) < last_due(now, hour)


@dataclass(frozen=True)
class Holding:
    """Words of deleted calls in a backup.

    Attributes:
        calls: how many; 0: none.
        until: when the backup goes by itself; None: nobody knows.
    """

    calls: int
    until: datetime | None


def holdings(
    backups: Sequence[Backup], living: frozenset[str], keep: int, due: datetime | None
) -> dict[str, Holding]:
    """What each backup still holds of calls that are deleted.

    Args:
        backups: newest first.
        living: ids of the calls that are not deleted.
        keep: how many backups are kept.
        due: the next night's backup; None: none is made by itself.
    """
    found: dict[str, Holding] = {}
    # As in prune: no damaged one takes a place, none without a card, and none from the future.
    places = 0
    for one in backups:
        until = None
        if due is not None and one.is_ours and one.made_at <= due:
            places += one.state != "damaged"
            until = due + timedelta(days=max(0, keep - max(places, 1)))
        found[one.name] = Holding(len(one.calls - living), until)
    return found


def _at(now: datetime, hour: int, days: int) -> datetime:
    day = now.astimezone().date() + timedelta(days=days)
    return datetime.combine(day, time(hour)).astimezone()
