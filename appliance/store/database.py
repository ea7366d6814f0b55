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
            return scrub(self._engine)
        except (SQLAlchemyError, sqlite3.OperationalError) as error:
            log.warning("scrub_failed", error=type(error).__name__)
            return False

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()
