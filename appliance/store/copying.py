"""A copy of the SQLite database, whole while others write, and what such a copy holds."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from appliance.errors import ApplianceError, BadInput
from appliance.store.engine import explain, make_engine

_WITH_WORDS = """
    SELECT id FROM sessions WHERE caller_note <> '' OR owner_note <> '' OR EXISTS (
        SELECT 1 FROM turns
        WHERE session_id = sessions.id AND (user_text IS NOT NULL OR agent_text IS NOT NULL)
    )
"""


def copy(url: str, target: Path) -> None:
    """Write the database into a new file of the owner's alone; nothing that was deleted is in it.

    Raises:
        ApplianceError: the database cannot be read, or the disk is full.
    """
    # SQLite would make it readable for others; an empty file it takes as none.
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    engine = make_engine(url)
    try:
        with closing(engine.raw_connection()) as connection:
            connection.cursor().execute("VACUUM INTO ?", (str(target),))
    except SQLAlchemyError as error:
        raise explain(error) from error
    except sqlite3.Error as error:
        if "full" in str(error) or "disk i/o" in str(error):
            raise ApplianceError(
                "disk_full", "The disk is full: the database cannot be copied.",
                "Free some space in the data folder's disk.", can_retry=True,
            ) from error  # fmt: skip
        raise ApplianceError(
            "database_unavailable", "The database cannot be copied.",
            "Check that the data folder can be written and that no other program holds it.",
            can_retry=True,
        ) from error  # fmt: skip
    finally:
        engine.dispose()


def calls_with_words(path: Path) -> list[str]:
    """The calls of which a copy holds words: what was said, or a note."""
    with closing(_reader(path)) as connection:
        return [str(row[0]) for row in connection.execute(_WITH_WORDS)]


def check_copy(path: Path) -> str:
    """The revision of a copy's tables; looks at every page.

    Raises:
        BadInput: it is no database of ours, or a damaged one.
    """
    try:
        with closing(_reader(path)) as connection:
            if connection.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",):
                (revision,) = connection.execute(
                    "SELECT version_num FROM alembic_version"
                ).fetchone()
                return str(revision)
    except (sqlite3.Error, TypeError) as error:
        raise _damaged() from error
    raise _damaged()


def _reader(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _damaged() -> BadInput:
    return BadInput(
        "backup_database_damaged", "The database in this backup cannot be read.",
        "Take another backup.",
    )  # fmt: skip
