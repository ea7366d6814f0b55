"""The audit log: rows are added and read, never changed; each carries the digest of the one before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, insert, or_, select

from appliance.store.database import Database
from appliance.store.engine import AUDIT_LOCK, lock_for_transaction
from appliance.store.models import AuditRow

FIRST = "0" * 64
"""What the first row has in the place of a digest before it."""
_AUDIT = AuditRow.__table__.c
_AT_ONCE = 1000


@dataclass(frozen=True)
class Deed:
    """What is to be noted: who did what, from where, and how it went."""

    actor: str
    address: str
    action: str
    object: str = ""
    result: str = "ok"
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AuditEntry(Deed):
    """One row. Times are in UTC."""

    number: int
    at: datetime
    before: str
    digest: str

    def as_json(self) -> dict[str, Any]:
        """The row as the API shows it."""
        return {**asdict(self), "at": self.at.isoformat()}


@dataclass(frozen=True)
class Verdict:
    """Whether the log is as it was written."""

    rows: int
    broken_at: int | None
    """Number of the first row that was changed, moved or is missing."""
    last_digest: str


class Audit:
    """The log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, deed: Deed) -> AuditEntry:
        """Write one row after the last."""
        said = {
            "actor": _plain(deed.actor)[:120], "address": _plain(deed.address)[:64],
            "action": _plain(deed.action)[:64], "object": _plain(deed.object)[:200],
            "result": _plain(deed.result)[:16],
            # As the database will give it back, or the digest would not be the same.
            "detail": json.loads(_plain(json.dumps(deed.detail, default=str, ensure_ascii=False))),
        }  # fmt: skip
        with self._database.write(essential=True) as connection:
            lock_for_transaction(connection, AUDIT_LOCK)
            last = connection.execute(
                select(_AUDIT.number, _AUDIT.digest).order_by(_AUDIT.number.desc()).limit(1)
            ).one_or_none()
            number, before = (last[0] + 1, last[1]) if last else (1, FIRST)
            row = {**said, "number": number, "at": datetime.now(UTC), "before": before}
            row["digest"] = _digest(row)
            connection.execute(insert(AuditRow).values(row))
        return AuditEntry(**row)

    def list(
        self, limit: int = 50, below: int | None = None, actions: Sequence[str] = ()
    ) -> tuple[list[AuditEntry], int]:
        """The latest rows, newest first, and how many rows there are.

        Args:
            limit: how many at most.
            below: only rows with a smaller number.
            actions: only actions that begin with one of these, e.g. ``owner.``.
        """
        query = select(*_AUDIT).order_by(_AUDIT.number.desc()).limit(limit)
        if below is not None:
            query = query.where(_AUDIT.number < below)
        if actions:
            query = query.where(
                or_(*(_AUDIT.action.startswith(one, autoescape=True) for one in actions))
            )
        with self._database.read() as connection:
            rows = [AuditEntry(**row) for row in connection.execute(query).mappings()]
            total = connection.scalar(select(func.count()).select_from(AuditRow))
        return rows, int(total or 0)

    def verify(self) -> Verdict:
        """Compute the whole chain again."""
        number, before = 0, FIRST
        while True:
            query = select(*_AUDIT).where(_AUDIT.number > number).order_by(_AUDIT.number)
            with self._database.read() as connection:
                rows = connection.execute(query.limit(_AT_ONCE)).mappings().all()
            for row in rows:
                right = row["number"] == number + 1 and row["before"] == before
                if not right or row["digest"] != _digest(dict(row)):
                    return Verdict(number, number + 1, before)
                number, before = row["number"], row["digest"]
            if len(rows) < _AT_ONCE:
                return Verdict(number, None, before)


def _digest(row: dict[str, Any]) -> str:
    said = {name: value for name, value in row.items() if name != "digest"}
    said["at"] = row["at"].astimezone(UTC).isoformat()
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(text: str) -> str:
    """Without what a database refuses: lone surrogates and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")
