"""What Postgres needs to keep the promises that SQLite keeps: durable, in time, no word in an error."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg.types.string import StrDumper
from sqlalchemy import URL, Connection, Engine, ExceptionContext, event, text
from sqlalchemy.exc import DBAPIError, OperationalError

from appliance.errors import ApplianceError

COLLATION = "und-x-icu"
"""Knows the upper and lower case of every alphabet, whatever the database's own locale."""
_LOCK_TIMEOUT_MS = 5000
_UPGRADE_TIMEOUT_MS = 120_000
_SCRUB_PATIENCE_MS = 300
# A server that is switched off says no goodbye: after these seconds the connection is given up.
_CONNECTION = {
    "application_name": "earshot", "connect_timeout": 5, "keepalives_idle": 10,
    "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000,
}  # fmt: skip
_LOCK_NOT_AVAILABLE = "55P03"
_FORBIDDEN = "42501"
_DISK_FULL = "53100"
# Said by the library when there is no connection yet, so that there is no code to go by.
_REFUSALS = (
    ("password authentication failed", "It refuses the user or the password."),
    ("no password supplied", "It asks for a password, and database_url has none."),
    ("no pg_hba.conf entry", "It lets nobody in from this address: add the box to pg_hba.conf."),
    ("does not exist", "The database or the user does not exist there."),
    ("connection refused", "Nothing listens at that address: check that it runs."),
    ("resolve", "The name of its host is not known."),
    ("timeout", "It does not answer in time: check its address and the firewall."),
)


class _WithoutNul(StrDumper):
    """Postgres takes no NUL in a text; SQLite does."""

    def dump(self, obj: str) -> Any:
        """The text as the server takes it."""
        return super().dump(obj.replace("\0", "\ufffd"))


def connection_arguments(url: URL) -> dict[str, Any]:
    """What the URL itself leaves open."""
    return {name: value for name, value in _CONNECTION.items() if name not in url.query}


def prepare(engine: Engine) -> None:
    """See to every connection of this engine, and to its errors."""
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "handle_error", _without_words)


def require_suitable(connection: Connection) -> None:
    """Pass if this database can hold any text and compare it.

    Raises:
        ApplianceError: it cannot.
    """
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_UPGRADE_TIMEOUT_MS}")
    encoding = connection.scalar(text("SELECT current_setting('server_encoding')"))
    collation = text("SELECT count(*) FROM pg_collation WHERE collname = :name")
    if encoding == "UTF8" and connection.scalar(collation, {"name": COLLATION}):
        return
    raise ApplianceError(
        "database_unsuitable", "This Postgres database is not in UTF-8, or is built without ICU.",
        "Make one with: createdb --encoding=UTF8 --template=template0 earshot",
    )  # fmt: skip


def scrub(engine: Engine) -> bool:
    """Write the tables of calls anew without what was deleted from them.

    The server's write-ahead log, its archives and its replicas are its administrator's.

    Returns:
        Whether nothing deleted is left in the tables. False: somebody uses them; try again.
    """
    left: list[int] = []

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        found = re.search(r"\d+", notice.message_detail or "")
        left.append(int(found[0]) if found else 0)

    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        driver: Any = connection.connection.driver_connection
        connection.exec_driver_sql(f"SET lock_timeout = {_SCRUB_PATIENCE_MS}")
        driver.add_notice_handler(hear)
        try:
            for table in ("turns", "sessions"):
                connection.exec_driver_sql(f"VACUUM (FULL, VERBOSE) {table}")
        except OperationalError as error:
            if sqlstate(error) == _LOCK_NOT_AVAILABLE:
                return False
            raise
        finally:
            driver.remove_notice_handler(hear)
            connection.exec_driver_sql(f"SET lock_timeout = {_LOCK_TIMEOUT_MS}")
    # A row that a transaction from before its deletion may still read is copied with the others.
    return not any(left)


def deletions(connection: Connection) -> int:
    """How many rows were ever deleted from the tables of calls, by anybody, some seconds ago."""
    query = (
        "SELECT sum(n_tup_del) FROM pg_stat_user_tables"
        " WHERE schemaname = current_schema() AND relname IN ('turns', 'sessions')"
    )
    return int(connection.scalar(text(query)) or 0)


def sqlstate(error: Exception) -> str:
    """Postgres' code of an error; empty if it has none."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "sqlstate", None) or ""


def explain(error: DBAPIError) -> ApplianceError | None:
    """What a failure means where Postgres' is another than SQLite's; None: it is not."""
    code = sqlstate(error)
    if code == _DISK_FULL:
        return ApplianceError(
            "disk_full", "The database cannot be written: the disk of its server is full.",
            "Free some space there.", can_retry=True,
        )  # fmt: skip
    if code == _FORBIDDEN:
        return ApplianceError(
            "database_refused", "The database's user may not do what is needed.",
            "The user in database_url must own the database, or its schema.",
        )  # fmt: skip
    if isinstance(error, OperationalError):
        words = str(error.orig).lower() if not code else ""
        why = next((said for sign, said in _REFUSALS if sign in words), "")
        return ApplianceError(
            "database_unavailable", "The Postgres server of database_url does not answer.",
            why or "Check that it runs, and that the box reaches it.", can_retry=True,
        )  # fmt: skip
    return None


def _on_connect(connection: psycopg.Connection, _record: Any) -> None:
    connection.adapters.register_dumper(str, _WithoutNul)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('TimeZone', 'UTC', false),"
            f" set_config('lock_timeout', '{_LOCK_TIMEOUT_MS}', false),"
            # A server may be set to acknowledge before it has written.
            " CASE current_setting('synchronous_commit') WHEN 'off'"
            " THEN set_config('synchronous_commit', 'on', false) END"
        )
    connection.commit()


def _without_words(context: ExceptionContext) -> None:
    """Postgres tells with an error the row that it was about; no log is to have that."""
    original = context.original_exception
    if not isinstance(original, psycopg.Error) or original.diag.message_primary is None:
        return
    said = f"{original.sqlstate}: {original.diag.message_primary}"
    original.args = (said,)
    if context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (f"({type(original).__name__}) {said}",)
