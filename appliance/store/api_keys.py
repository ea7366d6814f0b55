"""Programs' keys, kept as their digests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import RowMapping, delete, func, insert, select, update

from appliance.errors import NotFound
from appliance.store.database import Database
from appliance.store.models import ApiKeyRow

_USED_EVERY_S = 60.0
_KEYS = ApiKeyRow.__table__.c


@dataclass(frozen=True)
class ApiKey:
    """One program's key. The secret itself is known to the program alone."""

    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    revoked_at: datetime | None

    def is_valid(self, now: datetime) -> bool:
        """Whether it opens anything at this moment."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class ApiKeys:
    """Programs' keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, key_id: str, digest: str, name: str, scopes: list[str], expires_at: datetime | None
    ) -> ApiKey:
        """Keep a new key's digest."""
        values: dict[str, Any] = {
            "id": key_id, "name": name, "scopes": scopes, "created_at": _now(),
            "expires_at": expires_at, "used_at": None, "revoked_at": None,
        }  # fmt: skip
        with self._database.write() as connection:
            connection.execute(insert(ApiKeyRow).values(digest=digest, **values))
        return ApiKey(**values)

    def find(self, key_id: str, digest: str) -> ApiKey | None:
        """The valid key with this id and digest; its use is noted at most once a minute."""
        now = _now()
        with self._database.read() as connection:
            row = (
                connection.execute(select(*_KEYS).where(_KEYS.id == key_id, _KEYS.digest == digest))
                .mappings()
                .one_or_none()
            )
        if row is None or not (key := _key(row)).is_valid(now):
            return None
        if key.used_at is None or abs((now - key.used_at).total_seconds()) > _USED_EVERY_S:
            with self._database.write() as connection:
                connection.execute(update(ApiKeyRow).where(_KEYS.id == key_id).values(used_at=now))
        return key

    def all(self) -> list[ApiKey]:
        """Every key on the list, the newest first."""
        query = select(*_KEYS).order_by(_KEYS.created_at.desc(), _KEYS.id)
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(query).mappings()]

    def revoke(self, key_id: str) -> ApiKey:
        """Close this key for ever; doing it twice is no error.

        Raises:
            NotFound: there is no such key.
        """
        with self._database.write() as connection:
            connection.execute(
                update(ApiKeyRow)
                .where(_KEYS.id == key_id, _KEYS.revoked_at.is_(None))
                .values(revoked_at=_now())
            )
            row = (
                connection.execute(select(*_KEYS).where(_KEYS.id == key_id))
                .mappings()
                .one_or_none()
            )
        if row is None:
            raise NotFound("key_unknown", "There is no such key.", "The page Access lists them.")
        return _key(row)

    def delete(self, key_id: str) -> None:
        """Forget this key; what it was is in the audit log."""
        with self._database.write() as connection:
            connection.execute(delete(ApiKeyRow).where(_KEYS.id == key_id))

    def count(self) -> int:
        """How many are on the list."""
        with self._database.read() as connection:
            return int(connection.scalar(select(func.count()).select_from(ApiKeyRow)) or 0)


def _key(row: RowMapping) -> ApiKey:
    return ApiKey(**{name: value for name, value in row.items() if name != "digest"})


def _now() -> datetime:
    return datetime.now(UTC)
