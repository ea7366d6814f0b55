"""The owner, the browsers they are signed in with, and failed tries at the password."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, delete, insert, or_, select, update

from appliance.errors import Refused
from appliance.store.database import Database
from appliance.store.engine import ATTEMPTS_LOCK, OWNER_LOCK, lock_for_transaction
from appliance.store.models import AttemptRow, OwnerRow, SignInRow

_THE_OWNER = 1
_OWNER = OwnerRow.__table__.c
_SIGN_INS = SignInRow.__table__.c
_ATTEMPTS = AttemptRow.__table__.c


@dataclass(frozen=True)
class SignIn:
    """One browser in which the owner is signed in; times are in UTC."""

    digest: str
    created_at: datetime
    seen_at: datetime
    address: str
    browser: str


@dataclass(frozen=True)
class Tries:
    """Failed tries at the password within the last hour, oldest first."""

    own: list[datetime]
    """From the asker's place."""
    everywhere: list[datetime]
    """From all places that share one limit."""


class Owner:
    """The one owner's password, as its hash."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def password_hash(self) -> str | None:
        """The hash, or None while no password is set."""
        with self._database.read() as connection:
            return connection.scalar(select(_OWNER.password_hash))

    def claim(self, password_hash: str) -> None:
        """Set the first password.

        Raises:
            Refused: there is one already.
        """
        with self._database.write() as connection:
            lock_for_transaction(connection, OWNER_LOCK)
            if connection.scalar(select(_OWNER.id)) is not None:
                raise Refused(
                    "set_up_over", "This box has a password already.",
                    "Sign in; `scripts/appliance admin reset` is for a forgotten password.",
                )  # fmt: skip
            connection.execute(
                insert(OwnerRow).values(
                    id=_THE_OWNER, password_hash=password_hash, changed_at=_now()
                )
            )

    def change(self, password_hash: str, keep_digest: str | None = None) -> None:
        """Set another password and sign every other browser out."""
        with self._database.write() as connection:
            connection.execute(
                update(OwnerRow).values(password_hash=password_hash, changed_at=_now())
            )
            connection.execute(delete(SignInRow).where(_SIGN_INS.digest != (keep_digest or "")))

    def rehash(self, before: str, password_hash: str) -> None:
        """Keep the same password under newer parameters."""
        with self._database.write() as connection:
            connection.execute(
                update(OwnerRow)
                .where(_OWNER.password_hash == before)
                .values(password_hash=password_hash)
            )

    def forget(self) -> None:
        """Remove the password, sign every browser out and forget the failed tries."""
        with self._database.write() as connection:
            for row in (OwnerRow, SignInRow, AttemptRow):
                connection.execute(delete(row))


class SignIns:
    """The browsers in which the owner is signed in."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, digest: str, address: str, browser: str, password_hash: str) -> None:
        """Note a new one, unless the password has been changed since it was checked.

        Raises:
            Refused: it has been.
        """
        now = _now()
        with self._database.write(essential=True) as connection:
            lock_for_transaction(connection, OWNER_LOCK)
            if connection.scalar(select(_OWNER.password_hash)) != password_hash:
                raise Refused(
                    "password_changed", "The password has just been changed.", "Sign in again."
                )
            connection.execute(
                insert(SignInRow).values(
                    digest=digest, created_at=now, seen_at=now, address=address[:64],
                    browser=browser[:200],
                )
            )  # fmt: skip

    def find(
        self, digest: str, idle_s: float, longest_s: float, *, noted: bool = True
    ) -> SignIn | None:
        """The one with this digest, if it was used and begun within these seconds.

        With ``noted`` its last use is, at most once in a quarter of ``idle_s``, or in a minute.
        """
        now = _now()
        with self._database.read() as connection:
            row = (
                connection.execute(select(*_SIGN_INS).where(_SIGN_INS.digest == digest))
                .mappings()
                .one_or_none()
            )
        if row is None:
            return None
        found = SignIn(**row)
        idle = (now - found.seen_at).total_seconds()
        if idle >= idle_s or (now - found.created_at).total_seconds() >= longest_s:
            self.remove(digest)
            return None
        if noted and (idle > min(60.0, idle_s / 4) or idle < 0):
            with self._database.write(essential=True) as connection:
                connection.execute(
                    update(SignInRow).where(_SIGN_INS.digest == digest).values(seen_at=now)
                )
        return found

    def all(self, idle_s: float, longest_s: float) -> list[SignIn]:
        """Those that still count, the latest first; the others are removed."""
        now = _now()
        with self._database.write() as connection:
            connection.execute(
                delete(SignInRow).where(
                    or_(
                        _SIGN_INS.seen_at <= now - timedelta(seconds=idle_s),
                        _SIGN_INS.created_at <= now - timedelta(seconds=longest_s),
                    )
                )
            )
            rows = connection.execute(select(*_SIGN_INS).order_by(_SIGN_INS.seen_at.desc()))
            return [SignIn(**row) for row in rows.mappings()]

    def remove(self, digest: str) -> bool:
        """Sign this browser out; whether it was signed in."""
        with self._database.write() as connection:
            gone: CursorResult[Any] = connection.execute(
                delete(SignInRow).where(_SIGN_INS.digest == digest)
            )
            return gone.rowcount == 1


class Attempts:
    """Failed tries at the password; they outlive the panel."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(
        self, place: str, wait: Callable[[Tries, datetime], float], exempt: tuple[str, ...]
    ) -> float:
        """Count a try as failed before it is judged, so that many at once cannot all slip by.

        Args:
            place: whose tries count together.
            wait: says from ``(Tries, now)`` how many seconds are to be waited; 0: go on.
            exempt: beginnings of places that do not count for everybody's common limit.

        Returns:
            Seconds to wait; 0 if the try was counted.
        """
        now = _now()
        hour = timedelta(hours=1)
        with self._database.write(essential=True) as connection:
            lock_for_transaction(connection, ATTEMPTS_LOCK)
            # A clock that was set back would otherwise keep its tries for ever.
            connection.execute(
                delete(AttemptRow).where(
                    or_(_ATTEMPTS.at <= now - hour, _ATTEMPTS.at > now + timedelta(minutes=1))
                )
            )
            rows = connection.execute(
                select(_ATTEMPTS.address, _ATTEMPTS.at).order_by(_ATTEMPTS.at)
            ).all()
            tries = Tries(
                [at for address, at in rows if address == place],
                [at for address, at in rows if not str(address).startswith(exempt)],
            )
            seconds = wait(tries, now)
            if seconds <= 0:
                connection.execute(insert(AttemptRow).values(address=place[:64], at=now))
            return max(0.0, seconds)

    def succeeded(self, place: str) -> None:
        """The right password came from here: its failed tries are forgotten."""
        with self._database.write(essential=True) as connection:
            connection.execute(delete(AttemptRow).where(_ATTEMPTS.address == place[:64]))


def _now() -> datetime:
    return datetime.now(UTC)
