"""One way to open the database: SQLite that never loses what it acknowledged, or Postgres."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from appliance.errors import ApplianceError, BadSettings

BUSY_TIMEOUT_MS = 5000
# Any fixed number will do; every program must use the same ones.
SEATS_LOCK = 7_211_001
UPGRADE_LOCK = 7_211_002
OWNER_LOCK = 7_211_003
ATTEMPTS_LOCK = 7_211_004
AUDIT_LOCK = 7_211_005
_SCRUB_PATIENCE_MS = 300
# Each piece is a transaction of its own, so that an agent's turn gets its chance in between.
_PAGES_AT_ONCE = 256
_MOST_PIECES = 200
_READ_ONLY = "earshot_read_only"
_OURS = (IntegrityError, DataError, ProgrammingError, NotSupportedError)
_POSTGRES = {"postgresql", "postgres", "postgresql+psycopg"}


def make_engine(url: str) -> Engine:
    """An engine for this URL, with the pragmas that durability needs.

    Raises:
        BadSettings: the URL is not one, or its driver is not installed.
    """
    path = sqlite_path(url)
    if path is None:
        return _server_engine(_parsed(url))
    _make_private(path)
    # An error's text with its parameters would carry what was said into the logs.
    engine = create_engine(url, hide_parameters=True)
    event.listen(engine, "connect", _on_sqlite_connect)
    event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _server_engine(url: URL) -> Engine:
    if url.get_backend_name() != "postgresql":
        raise _bad_url()
    # Heavy, and most boxes have no server.
    from appliance.store import postgres

    try:
        engine = create_engine(
            url, pool_pre_ping=True, hide_parameters=True, isolation_level="READ COMMITTED",
            connect_args=postgres.connection_arguments(url),
        )  # fmt: skip
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError):
        raise _bad_url() from None
    postgres.prepare(engine)
    return engine


def reading(engine: Engine) -> Engine:
    """The same pool, for transactions that only read: on SQLite they never wait for a writer."""
    return engine.execution_options(**{_READ_ONLY: True})


def scrub(engine: Engine) -> bool:
    """Take what was deleted out of SQLite's write-ahead log, and give free pages back to the disk.

    Returns:
        Whether the log is empty. False: someone is reading; it has to be tried again.
    """
    with closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        # A checkpoint that waits for readers holds all writers up.
        cursor.execute(f"PRAGMA busy_timeout={_SCRUB_PATIENCE_MS}")
        try:
            for _ in range(_MOST_PIECES):
                if cursor.execute("PRAGMA freelist_count").fetchone() == (0,):
                    break
                # execute() would stop after its first step, which is one page.
                cursor.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
            (busy, _, _) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        return bool(busy == 0)


def lock_for_transaction(connection: Connection, number: int) -> None:
    """Let one transaction at a time past here. On SQLite every writing one has that already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def sqlite_path(url: str) -> Path | None:
    """The database file, or None if the URL names a server.

    Raises:
        BadSettings: the URL is not one.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    if not parsed.database or parsed.database == ":memory:":
        raise BadSettings(
            "database_url_invalid", "A SQLite database needs a file; several programs share it.",
            "Leave database_url empty, or name a file.",
        )  # fmt: skip
    return Path(parsed.database)


def url_secrets(url: str) -> set[str]:
    """What of a database's URL must not be shown: itself and its password, if it has one."""
    try:
        parsed = _parsed(url) if url else None
    except BadSettings:
        return {url}
    words = {parsed.password, parsed.query.get("password")} if parsed else set()
    passwords = {word for word in words if isinstance(word, str) and word}
    return {url} | passwords if passwords else set()


def explain(error: SQLAlchemyError) -> ApplianceError:
    """What a database failure means to people; the driver's own words stay in the cause."""
    words = str(error.orig).lower() if isinstance(error, DBAPIError) else ""
    if isinstance(error, DBAPIError) and type(error.orig).__module__.startswith("psycopg"):
        from appliance.store import postgres

        if (found := postgres.explain(error)) is not None:
            return found
    if "disk is full" in words or "disk i/o" in words:
        return ApplianceError(
            "disk_full", "The database cannot be written: the disk is full or failing.",
            "Free some space in the data folder's disk.", can_retry=True,
        )  # fmt: skip
    silent = isinstance(error, (OperationalError, InterfaceError, PoolTimeoutError))
    if "locked" in words or silent:
        return ApplianceError(
            "database_unavailable", "The database does not answer.",
            "Check that the data folder can be written and that no other program holds it.",
            can_retry=True,
        )  # fmt: skip
    if isinstance(error, _OURS) or not isinstance(error, DatabaseError):
        return ApplianceError(
            "database_refused", "The database could not do what was asked.",
            "`scripts/appliance logs` shows what; this is a mistake of ours.",
        )  # fmt: skip
    return ApplianceError(
        "database_damaged", "The database cannot be read.",
        "Move appliance.db out of the data folder, or put a backup in its place.",
    )  # fmt: skip


def _parsed(url: str) -> URL:
    """The URL in its parts; its own errors would show a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise _bad_url() from None
    if parsed.drivername in _POSTGRES:
        parsed = parsed.set(drivername="postgresql+psycopg")
    # Else a part of the password would be taken for the server's name, and be shown as one.
    if "@" in (parsed.host or ""):
        raise _bad_url()
    return parsed


def _bad_url() -> BadSettings:
    return BadSettings(
        "database_url_invalid", "The setting database_url cannot be used.",
        "It is like postgresql://user:password@server/database, with %40 for an @ in the password; "
        "empty means SQLite in the data folder.",
    )  # fmt: skip


def _make_private(path: Path) -> None:
    """Calls are private: the file is the owner's alone from its first byte."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Never opened when it is there: closing any descriptor of it would drop the locks that
        # SQLite holds in this process, and another program would take the write-ahead log away.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(path)
    except OSError as error:
        raise ApplianceError(
            "database_unavailable", f"The database {path} cannot be written.",
            "Check the data folder's owner and free space.",
        ) from error  # fmt: skip


def _on_sqlite_connect(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver's own BEGIN comes too late and is never IMMEDIATE; ours is in _on_sqlite_begin.
    connection.isolation_level = None
    connection.create_function("fold_case", 1, _fold_case, deterministic=True)
    cursor = connection.cursor()
    # First, so that the switch to WAL waits for its lock too.
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    # What is deleted is overwritten, and no sorting leaves what was said in a temporary file.
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.execute("PRAGMA temp_store=MEMORY")
    # Possible only before the first table; on a database that has tables it would be a write.
    if cursor.execute("PRAGMA page_count").fetchone() == (0,):
        cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
    cursor.execute("PRAGMA journal_mode=WAL")
    # NORMAL may lose acknowledged turns when the power goes.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _fold_case(text: str | None) -> str | None:
    # SQLite's own lower() knows the letters of ASCII only.
    return None if text is None else text.casefold()


def _on_sqlite_begin(connection: Connection) -> None:
    # A transaction that reads and then writes fails at once, without waiting, if another wrote
    # in between; taking the write lock first makes it wait.
    only_reads = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")
