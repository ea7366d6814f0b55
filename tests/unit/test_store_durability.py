"""The store under kill -9, several starters and an older schema."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from appliance.store import Store, upgrade, upgrading
from appliance.store.engine import make_engine, sqlite_path
from appliance.store.models import Base

pytestmark = pytest.mark.unit

_WRITER = """
import sys
from appliance.store import Store
store = Store(sys.argv[1])
call = store.sessions.create(persona="default", keep_transcript=True)
for number in range(100_000):
    index = store.turns.begin(call.id, f"question {number}")
    print("begun", call.id, index, flush=True)
    store.turns.finish(call.id, index, f"answer {number}", interrupted=False, ms={})
    print("finished", call.id, index, flush=True)
"""
_UPGRADER = """
import sys
from appliance.store import upgrade
print("ready", flush=True)
sys.stdin.readline()
upgrade(sys.argv[1])
"""


def _start(script: str, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, url],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def _kill_after(lines: int, url: str) -> list[str]:
    """What a writer acknowledged before it was killed with -9."""
    with _start(_WRITER, url) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.stdout.readlines()
    return [line for line in acknowledged if line.endswith("\n")]


def test_every_acknowledged_turn_survives_kill_9(database_url: str) -> None:
    upgrade(database_url)
    acknowledged = [
        line for lines in (1, 2, 7, 30, 61) for line in _kill_after(lines, database_url)
    ]
    store = Store(database_url)
    assert len(acknowledged) >= 101
    for line in acknowledged:
        what, session_id, index = line.split()
        turn = store.turns.list(session_id)[int(index)]
        assert turn.user_text == f"question {index}"
        assert turn.finished_at is not None or what == "begun"
    store.close()
    if path := sqlite_path(database_url):
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_programs_that_start_at_once_upgrade_once(empty_database_url: str) -> None:
    starters = [_start(_UPGRADER, empty_database_url) for _ in range(4)]
    for starter in starters:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "ready\n"
    for starter in starters:
        starter.communicate("go\n", timeout=30)
    assert [starter.returncode for starter in starters] == [0, 0, 0, 0]
    store = Store(empty_database_url)
    assert store.sessions.list() == []
    store.close()


def test_migrations_lead_to_what_the_models_say(empty_database_url: str) -> None:
    upgrade(empty_database_url)
    engine = make_engine(empty_database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_upgrading_keeps_what_is_there(database_url: str) -> None:
    upgrade(database_url)
    store = Store(database_url)
    call = store.sessions.create(persona="default", keep_transcript=True)
    upgrade(database_url)
    assert store.sessions.get(call.id) == call
    store.close()


def test_the_newest_migration_is_the_one_that_is_looked_for() -> None:
    scripts = ScriptDirectory.from_config(upgrading.alembic_config())
    assert scripts.get_current_head() == upgrading.HEAD
