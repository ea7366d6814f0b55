"""The database: one way to write, one to read, and nothing of its tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from appliance import logs
from appliance.store.engine import explain, make_engine, reading, scrub, sqlite_path
from appliance.store.reserve import Reserve

log = logs.get(__name__)


class Database:
    """Transactions. What one has committed is on the disk. Safe between threads."""

    def __init__(self, url: str) -> None:
        self._engine = make_engine(url)
        self._reader = reading(self._engine)
        self._scrubbed_at: int | None = None
        self.reserve = Reserve(sqlite_path(url))

    @contextmanager
    def write(self, *, essential: bool = False) -> Iterator[Connection]:
        """One writing transaction, committed at the end.

        Args:
            essential: it must be possible on a full disk too: deleting, signing in.
        """
        if essential:
            self.reserve.make_room()
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise explain(error) from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One reading transaction."""
        try:
            with self._reader.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise explain(error) from error

    def scrub(self) -> bool:
        """Take deleted words out of the database's files; False: somebody reads, try again."""
        try:
            if self._engine.dialect.name == "sqlite":
                return scrub(self._engine)
            return self._scrub_server()
        except (SQLAlchemyError, sqlite3.OperationalError) as error:
            log.warning("scrub_failed", error=type(error).__name__)
            return False

    def scrub_owed(self) -> None:
        """Words were deleted here just now: the next scrubbing is no formality."""
        self._scrubbed_at = None

    def _scrub_server(self) -> bool:
        """As ``scrub``, on Postgres: it locks the tables, so only where something was deleted."""
        from appliance.store import postgres

        with self._reader.begin() as connection:
            deletions = postgres.deletions(connection)
        # The server counts some seconds late, so what this process deletes it says itself.
        if deletions == self._scrubbed_at:
            return True
        if not postgres.scrub(self._engine):
            return False
        self._scrubbed_at = deletions
        return True

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()
