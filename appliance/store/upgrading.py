"""Bringing the database to the tables this version expects."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from appliance import logs
from appliance.errors import ApplianceError
from appliance.store.engine import (
    UPGRADE_LOCK,
    explain,
    lock_for_transaction,
    make_engine,
    sqlite_path,
)

if TYPE_CHECKING:
    from alembic.config import Config

log = logs.get(__name__)
HEAD = "0003"
"""The newest migration."""
_MIGRATIONS = Path(__file__).resolve().parent / "migrations"


def upgrade(url: str) -> None:
    """Create or migrate the tables; several programs may call this at once.

    Raises:
        BadSettings: the URL cannot be used.
        ApplianceError: the database is damaged, unreachable or of a newer version.
    """
    with _one_at_a_time(url):
        engine = make_engine(url)
        try:
            with engine.begin() as connection:
                if engine.dialect.name == "postgresql":
                    from appliance.store.postgres import require_suitable

                    require_suitable(connection)
                lock_for_transaction(connection, UPGRADE_LOCK)
                # Alembic takes half a second to import, which every program would pay.
                if _revision(connection) != HEAD:
                    _migrate(connection)
            _rewrite_once(engine)
        except SQLAlchemyError as error:
            raise explain(error) from error
        finally:
            engine.dispose()


def _rewrite_once(engine: Engine) -> None:
    """Rewrite an SQLite file from before deleted words were overwritten: some may still be in it."""
    if engine.dialect.name != "sqlite":
        return
    with closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        if cursor.execute("PRAGMA auto_vacuum").fetchone() != (0,):
            return
        try:
            cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
            cursor.execute("VACUUM")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError as error:
            # Somebody holds it, or the disk is full; the next start tries again.
            log.warning("database_not_rewritten", error=type(error).__name__)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.util import CommandError

    config = alembic_config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ApplianceError(
            "database_newer", "The database was written by a newer version.",
            "Start that version, or put back the backup made before the update.",
        ) from error  # fmt: skip


def alembic_config() -> Config:
    """Alembic's view of the package; there is no ini file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _one_at_a_time(url: str) -> Iterator[None]:
    """Hold the file lock of an SQLite database; a server has locks of its own."""
    path = sqlite_path(url)
    if path is None:
        yield
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ApplianceError(
            "database_unavailable", f"The folder {path.parent} cannot be written.",
            "Check its owner and free space.",
        ) from error  # fmt: skip
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
