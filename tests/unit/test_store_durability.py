"""The store under kill -9, several starters and an older schema."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from appliance.store import Store, upgrade, upgrading
from appliance.store.engine import make_engine
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
_PASSER_BY = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("INSERT INTO sessions (id, room_name, persona, keep_transcript, state, reason, created_at) SELECT 'later', 'call-later', persona, keep_transcript, state, reason, created_at FROM sessions")
connection.commit()
connection.close()
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


def test_every_acknowledged_turn_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "appliance.db"
    url = f"sqlite:///{path}"
    upgrade(url)
    acknowledged = [line for lines in (1, 2, 7, 30, 61) for line in _kill_after(lines, url)]
    store = Store(url)
    assert len(acknowledged) >= 101
    for line in acknowledged:
        what, session_id, index = line.split()
        turn = store.turns.list(session_id)[int(index)]
        assert turn.user_text == f"question {index}"
        assert turn.finished_at is not None or what == "begun"
    store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_programs_that_start_at_once_upgrade_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/data/appliance.db"
    starters = [_start(_UPGRADER, url) for _ in range(4)]
    for starter in starters:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "ready\n"
    for starter in starters:
        starter.communicate("go\n", timeout=30)
    assert [starter.returncode for starter in starters] == [0, 0, 0, 0]
    assert Store(url).sessions.list() == []


def test_migrations_lead_to_what_the_models_say(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/appliance.db"
    upgrade(url)
    with make_engine(url).connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Base.metadata) == []


def test_upgrading_keeps_what_is_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/appliance.db"
    upgrade(url)
    call = Store(url).sessions.create(persona="default", keep_transcript=True)
    upgrade(url)
    assert Store(url).sessions.get(call.id) == call


def test_the_newest_migration_is_the_one_that_is_looked_for() -> None:
    scripts = ScriptDirectory.from_config(upgrading.alembic_config())
    assert scripts.get_current_head() == upgrading.HEAD


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
