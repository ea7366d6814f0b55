"""What is SQLite's alone: its file, its pragmas, its locks. And URLs that name no database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.errors import ApplianceError, BadSettings
from appliance.store import Store, upgrade
from appliance.store.engine import make_engine

pytestmark = pytest.mark.unit

_PASSER_BY = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("INSERT INTO sessions (id, room_name, persona, keep_transcript, state, reason, created_at) SELECT 'later', 'call-later', persona, keep_transcript, state, reason, created_at FROM sessions")
connection.commit()
connection.close()
"""


@pytest.fixture
def store(database_url: str) -> Store:
    """A store with its tables."""
    upgrade(database_url)
    return Store(database_url)


def test_the_database_is_the_owners_alone(store: Store, tmp_path: Path) -> None:
    store.sessions.create(persona="default", keep_transcript=True)
    for path in (tmp_path / "data").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_every_connection_is_durable(store: Store) -> None:
    with store.read() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragma == {
        "journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000,
    }  # fmt: skip


def test_a_damaged_database_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "appliance.db"
    path.write_bytes(b"this is not a database" * 500)
    with pytest.raises(ApplianceError) as caught:
        upgrade(f"sqlite:///{path}")
    assert caught.value.code == "database_damaged"


def test_opening_a_second_store_keeps_the_locks_of_the_first(tmp_path: Path) -> None:
    """Else a passer-by, closing what it takes for the last connection, removes the log in use."""
    path = tmp_path / "appliance.db"
    url = f"sqlite:///{path}"
    upgrade(url)
    first = Store(url)
    first.sessions.create(persona="default", keep_transcript=True)
    second = Store(url)
    subprocess.run([sys.executable, "-c", _PASSER_BY, str(path)], check=True)
    assert Path(f"{path}-wal").exists(), "the log of an open connection was removed"
    assert first.sessions.get("later").id == "later"
    assert second.sessions.get("later").id == "later"


@pytest.mark.parametrize(
    "url",
    [
        "nonsense", "sqlite://", "sqlite:///:memory:", "nosuch://x/y", "mysql://x/y",
        "postgresql+nosuch://x/y", "postgresql://u:pass:word@h:port/db", "postgresql://u:p@ss@h/db",
    ],
)  # fmt: skip
def test_a_useless_url_is_refused(url: str) -> None:
    with pytest.raises(BadSettings) as caught:
        make_engine(url)
    assert caught.value.code == "database_url_invalid"
    assert caught.value.__cause__ is None
    assert "ss" not in str(caught.value).replace("password", "")
