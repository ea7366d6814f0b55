"""What is Postgres' alone: its own errors, deletion from its files, its password, its limits."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from appliance.errors import ApplianceError
from appliance.settings import Settings
from appliance.store import EndState, Store, upgrade
from appliance.store.searching import Wanted
from services.panel.doctor.bundle import secret_cleaner
from tests.canary import files_with
from tests.postgres import PASSWORD, Server
from tests.unit.test_store_calls import held, ids
from tests.unit.test_store_scrub import CANARY, LONG, another_program
from tests.waiting import until

pytestmark = pytest.mark.services
SAID = "my pin is " + "four" * 2


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A store with its tables."""
    store = Store(database_url)
    yield store
    store.close()


def test_it_is_postgres(store: Store) -> None:
    with store.read() as connection:
        said = connection.scalar(text("SELECT version()"))
        zone, waits = connection.execute(
            text("SELECT current_setting('TimeZone'), current_setting('lock_timeout')")
        ).one()
    assert str(said).startswith("PostgreSQL")
    assert (zone, waits) == ("UTC", "5s")


def test_nothing_of_a_deleted_call_is_left_in_the_tables(
    store: Store, database_url: str, postgres: Server
) -> None:
    def left(words: str) -> list[str]:
        postgres.run("CHECKPOINT")
        return files_with(words, postgres.tables)

    with another_program(database_url) as agent:
        session_id = agent.hear()
        store.calls.judge(session_id, "caller", thumb=-1, note=f"{CANARY} noted")
        store.calls.judge(session_id, "caller", thumb=-1, note="better not")
        until(store.scrub, what="the scrubbing")
        assert left(CANARY)
        assert left(f"{CANARY} noted") == []
        assert agent.go_on() == "reading"
        assert store.calls.delete(session_id).calls == 1
        assert not store.scrub(), "somebody has the table open"
        assert left(CANARY)
        assert agent.go_on() == "idle"
        until(store.scrub, what="the scrubbing")
        assert left(CANARY) == []
        assert store.sessions.list() == []


def test_a_row_that_an_older_transaction_may_read_is_not_gone(
    store: Store, database_url: str
) -> None:
    call = held(store, (f"{CANARY}?", LONG))
    other = Store(database_url)
    with other._engine.connect().execution_options(isolation_level="REPEATABLE READ") as reader:
        reader.execute(text("SELECT count(*) FROM links"))
        store.calls.delete(call.id)
        assert not store.scrub()
    until(store.scrub, what="the scrubbing")
    other.close()


def test_tables_are_written_anew_only_after_a_deletion(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = held(store, ("a", "b"))
    assert store.scrub(), "what was deleted before this program began is not known"
    done: list[str] = []

    def scrub(_engine: object) -> bool:
        done.append("x")
        return True

    monkeypatch.setattr("appliance.store.postgres.scrub", scrub)
    assert store.scrub()
    assert done == []
    store.calls.delete(call.id)
    assert store.scrub()
    assert done == ["x"]
    # Another program's deletion is seen once the server has counted it.
    other = Store(database_url)
    other.calls.delete(held(other, ("c", "d")).id)
    other.close()
    until(lambda: store.scrub() and len(done) > 1, 60, "the other's deletion")


def test_every_alphabet_is_searched_whatever_the_servers_locale(store: Store) -> None:
    call = held(store, ("Где РЕНТГЕН?", "STRASSE 5, ΟΔΟΣ"))
    for words in ("рентген", "straße", "οδος", "οδοσ"):
        assert ids(store, Wanted(text=words)) == [call.id], words


def test_what_postgres_does_not_take_is_no_failure(store: Store) -> None:
    call = store.sessions.create(persona="default", keep_transcript=True)
    store.turns.finish(call.id, store.turns.begin(call.id, "a\0b"), "c\0", interrupted=False, ms={})
    assert store.turns.list(call.id)[0].user_text == "a\ufffdb"
    assert ids(store, Wanted(text="\0")) == [call.id]
    with pytest.raises(ApplianceError) as caught:
        store.sessions.get(f"{call.id}\0")
    assert caught.value.code == "session_unknown"


def test_a_row_that_is_refused_is_in_no_error(store: Store) -> None:
    call = store.sessions.create(persona="default", keep_transcript=True)
    with store.write() as connection:
        connection.exec_driver_sql(f"ALTER TABLE turns ADD CHECK (user_text <> '{SAID}')")
    with pytest.raises(ApplianceError) as caught:
        store.turns.begin(call.id, SAID)
    whole = "".join(traceback.format_exception(caught.value))
    assert caught.value.code == "database_refused"
    assert "violates check constraint" in whole
    assert SAID not in whole


def test_a_lock_that_is_held_too_long_is_said(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.store.postgres._LOCK_TIMEOUT_MS", 300)
    call = store.sessions.create(persona="default", keep_transcript=True)
    other = Store(database_url)
    with store.write() as connection:
        connection.exec_driver_sql("LOCK TABLE sessions")
        with pytest.raises(ApplianceError) as caught:
            other.sessions.end(call.id, EndState.COMPLETED)
    assert (caught.value.code, caught.value.can_retry) == ("database_unavailable", True)
    other.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("tide", "tied"), "refuses the user or the password"),
        (("/test", "/nosuch"), "does not exist there"),
        (("?host=", "?host=/nowhere"), "Check that it runs"),
        (("@/", "@127.0.0.1:1/"), "Nothing listens"),
        (("@/", "@no.such.host.invalid/"), "not known"),
    ],
)
def test_why_there_is_no_connection_is_said_without_the_password(
    postgres: Server, change: tuple[str, str], said: str
) -> None:
    url = postgres.database().replace(*change)
    if change[0] == "@/":
        url = url.partition("?")[0]
    with pytest.raises(ApplianceError) as caught:
        upgrade(url)
    assert caught.value.code == "database_unavailable"
    assert said in caught.value.hint
    whole = "".join(traceback.format_exception(caught.value))
    assert "moss" not in whole


def test_a_database_in_another_encoding_is_refused(postgres: Server) -> None:
    postgres.run("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(ApplianceError) as caught:
        upgrade(postgres.url("latin"))
    assert caught.value.code == "database_unsuitable"


def test_a_user_without_rights_is_told(postgres: Server) -> None:
    name = postgres.database(tables=False).partition("@/")[2].partition("?")[0]
    postgres.run("CREATE ROLE guest LOGIN PASSWORD 'secret'")
    url = (
        postgres.url(name)
        .replace("earshot:", "guest:", 1)
        .replace("tide%2Frock%40moss%2541", "secret")
    )
    with pytest.raises(ApplianceError) as caught:
        upgrade(url)
    assert caught.value.code == "database_refused"
    assert "must own" in caught.value.hint


def test_the_files_for_help_hold_no_password(database_url: str) -> None:
    clean = secret_cleaner(Settings(database_url=database_url))
    for words in (database_url, f"password is {PASSWORD}."):
        cleaned = clean(words)
        assert "moss" not in cleaned
