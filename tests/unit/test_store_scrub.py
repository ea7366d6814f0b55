"""Deleted words are gone from the database's files, whoever else holds them open."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.store import EndState, Store, upgrade
from tests.canary import files_with
from tests.waiting import until

pytestmark = pytest.mark.unit

CANARY = "canary-" + "k" * 40
# Long enough to need overflow pages of its own, and more than one of them.
LONG = f"{CANARY} " * 400
_AGENT = """
import sys
from sqlalchemy import text
from appliance.store import EndState, Store
store = Store(sys.argv[1])
call = store.sessions.create(persona="default", keep_transcript=True)
index = store.turns.begin(call.id, sys.argv[2] + " asked")
store.turns.finish(call.id, index, sys.argv[2] * 200, interrupted=False, ms={})
store.sessions.end(call.id, EndState.COMPLETED)
print(call.id, flush=True)
sys.stdin.readline()
with store.read() as connection:
    connection.execute(text("SELECT count(*) FROM turns")).all()
    print("reading", flush=True)
    sys.stdin.readline()
print("idle", flush=True)
sys.stdin.readline()
"""


class Agent:
    """Another program that writes and reads the same database."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def hear(self) -> str:
        """Its next line."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def go_on(self) -> str:
        """Let it take its next step; what it says then."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.hear()


@contextmanager
def another_program(url: str) -> Iterator[Agent]:
    """A program that has written the canary and keeps the database open."""
    with subprocess.Popen(
        [sys.executable, "-c", _AGENT, url, CANARY],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield Agent(process)
        finally:
            process.kill()


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with its tables."""
    url = f"sqlite:///{tmp_path}/appliance.db"
    upgrade(url)
    return url


def test_nothing_of_a_deleted_call_is_left_while_the_agent_holds_the_file(
    url: str, tmp_path: Path
) -> None:
    store = Store(url)
    with another_program(url) as agent:
        session_id = agent.hear()
        store.calls.judge(session_id, "caller", thumb=-1, note=f"{CANARY} noted")
        store.calls.judge(session_id, "caller", thumb=-1, note="better not")
        assert store.scrub()
        assert files_with(CANARY, tmp_path) == ["appliance.db"]
        assert files_with(f"{CANARY} noted", tmp_path) == []
        assert agent.go_on() == "reading"
        assert store.calls.delete(session_id).calls == 1
        # The log cannot go while someone reads from before it, and says so.
        assert not store.scrub()
        assert "appliance.db" in files_with(CANARY, tmp_path)
        assert agent.go_on() == "idle"
        until(store.scrub, what="the scrubbing")
        assert files_with(CANARY, tmp_path) == []
        assert store.sessions.list() == []


def test_deletion_alone_leaves_the_words_in_the_log(url: str, tmp_path: Path) -> None:
    """What the scrubbing is for; if this fails one day, it is not needed any more."""
    store = Store(url)
    _held(store)
    store.calls.delete_ended()
    assert files_with(CANARY, tmp_path) == ["appliance.db-wal"]
    assert store.scrub()
    assert files_with(CANARY, tmp_path) == []


def test_the_file_becomes_smaller_again(url: str, tmp_path: Path) -> None:
    store = Store(url)
    empty = _pages(url)
    for _ in range(20):
        _held(store)
    assert store.scrub()
    assert _pages(url) > 2 * empty
    store.calls.delete_ended()
    assert store.scrub()
    assert _pages(url) <= empty + 2


def test_words_deleted_before_there_was_scrubbing_go_at_the_next_start(
    url: str, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    path = old / "appliance.db"
    upgrade(url)
    store = Store(url)
    _held(store)
    assert store.scrub()
    store.close()
    # As the version before wrote it: nothing is overwritten, no page is ever given back.
    connection = sqlite3.connect(tmp_path / "appliance.db", isolation_level=None)
    connection.execute("PRAGMA secure_delete=OFF")
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("PRAGMA auto_vacuum=NONE")
    connection.execute(f"VACUUM INTO '{path}'")
    connection.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA secure_delete=OFF")
    assert connection.execute("PRAGMA auto_vacuum").fetchone() == (0,)
    connection.execute("DELETE FROM turns")
    connection.close()
    assert files_with(CANARY, old) == ["appliance.db"]
    upgrade(f"sqlite:///{path}")
    assert files_with(CANARY, old) == []


def _held(store: Store) -> None:
    call = store.sessions.create(persona="default", keep_transcript=True)
    index = store.turns.begin(call.id, f"{CANARY}?")
    store.turns.finish(call.id, index, LONG, interrupted=False, ms={})
    store.sessions.end(call.id, EndState.COMPLETED)


def _pages(url: str) -> int:
    store = Store(url)
    with store.read() as connection:
        pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    store.close()
    return pages
