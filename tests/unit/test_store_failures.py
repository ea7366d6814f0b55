"""What a failing database means to people, and that no word of a call gets into its errors."""

from __future__ import annotations

import logging
import sqlite3
import traceback
from collections.abc import Iterator

import pytest
from sqlalchemy.exc import InterfaceError, StatementError

from appliance import logs
from appliance.errors import ApplianceError
from appliance.store import Store, upgrade

pytestmark = pytest.mark.unit

SAID = "my pin is four seven one one"
REFUSING = {
    "sqlite": [
        "CREATE TRIGGER full_up BEFORE INSERT ON turns BEGIN SELECT RAISE(ABORT, 'no more'); END"
    ],
    "postgresql": [
        (
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql"
            " AS $$ BEGIN RAISE EXCEPTION 'no more' USING DETAIL = NEW.user_text; END $$"
        ),
        "CREATE TRIGGER full_up BEFORE INSERT ON turns FOR EACH ROW EXECUTE FUNCTION refuse()",
    ],
}


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A store with its tables."""
    upgrade(database_url)
    store = Store(database_url)
    yield store
    store.close()


@pytest.fixture
def no_turns(store: Store) -> None:
    """The database refuses every turn."""
    with store.write() as connection:
        for statement in REFUSING[connection.dialect.name]:
            connection.exec_driver_sql(statement)


@pytest.mark.usefixtures("no_turns")
def test_words_of_a_turn_are_in_no_error_and_no_log(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given back after the test: the handler holds this test's stdout.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    logs.configure("test")
    call = store.sessions.create(persona="default", keep_transcript=True)
    with pytest.raises(ApplianceError) as caught:
        store.turns.begin(call.id, SAID)
    logs.get("test").error("not_written", exc_info=caught.value)
    whole = "".join(traceback.format_exception(caught.value))
    assert "no more" in whole, "the driver's error is among the causes"
    assert SAID not in whole
    written = capsys.readouterr().out
    assert "not_written" in written
    assert SAID not in written


def test_a_pool_without_a_free_connection_is_a_database_that_does_not_answer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = store._engine.pool
    monkeypatch.setattr(pool, "_timeout", 0.01)
    monkeypatch.setattr(pool, "_max_overflow", 0)
    held = [store._engine.connect() for _ in range(5)]
    for use in (store.sessions.open, lambda: store.sessions.mark_joined("s")):
        with pytest.raises(ApplianceError) as caught:
            use()
        assert (caught.value.code, caught.value.can_retry) == ("database_unavailable", True)
    for connection in held:
        connection.close()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InterfaceError("SELECT", {}, sqlite3.InterfaceError("gone")), "database_unavailable"),
        (StatementError("odd", "SELECT", {}, ValueError("odd")), "database_refused"),
    ],
)
def test_every_failure_of_the_database_is_translated(
    store: Store, error: Exception, code: str
) -> None:
    for transaction in (store.read, store.write):
        with pytest.raises(ApplianceError) as caught, transaction():
            raise error
        assert caught.value.code == code


def test_what_the_tables_do_not_take_is_no_damage(store: Store) -> None:
    store.sessions.create(persona="default", keep_transcript=True, room_name="hall")
    with pytest.raises(ApplianceError) as caught:
        store.sessions.create(persona="default", keep_transcript=True, room_name="hall")
    assert caught.value.code == "database_refused"
