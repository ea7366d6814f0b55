"""The store: what it returns, counts and refuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest

from appliance.errors import ApplianceError, NotFound, NotReady
from appliance.store import EndState, Session, Store, sessions, upgrade
from appliance.store.engine import SEATS_LOCK, lock_for_transaction

pytestmark = pytest.mark.unit


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A store with its tables."""
    upgrade(database_url)
    store = Store(database_url)
    yield store
    store.close()


def test_a_call_is_read_back_as_it_was_written(store: Store) -> None:
    made = store.sessions.create(persona="default", keep_transcript=True)
    assert store.sessions.get(made.id) == made
    assert made.is_open
    assert made.room_name.endswith(made.id)


def test_a_call_begins_when_it_has_its_seat_and_not_when_it_was_asked_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = threading.Event()

    def told(visit: Any) -> dict[str, Any]:
        waits.set()
        return asdict(visit)

    monkeypatch.setattr(sessions, "asdict", told)
    made: list[Session] = []

    def ask() -> None:
        made.append(store.sessions.create(persona="default", keep_transcript=True, seats=1))

    asking = threading.Thread(target=ask)
    with store.sessions._database.write() as connection:
        lock_for_transaction(connection, SEATS_LOCK)
        asking.start()
        assert waits.wait(30)
        free_at = datetime.now(UTC)
    asking.join(30)
    assert made[0].created_at >= free_at


def test_turns_keep_texts_times_and_interruption(store: Store) -> None:
    call = store.sessions.create(persona="default", keep_transcript=True)
    greeting = store.turns.begin(call.id, None)
    store.turns.finish(call.id, greeting, "Hello.", interrupted=False, ms={})
    index = store.turns.begin(call.id, "What do bees make?")
    ms: dict[str, int | None] = {"transcript": 545, "first_sound": 916, "at_ear": None}
    store.turns.finish(call.id, index, "Bees make", interrupted=True, ms=ms)
    first, second = store.turns.list(call.id)
    assert (first.index, first.user_text, first.agent_text) == (0, None, "Hello.")
    assert (second.user_text, second.agent_text) == ("What do bees make?", "Bees make")
    assert second.interrupted
    assert second.ms == ms
    assert second.finished_at is not None
    assert second.finished_at >= second.started_at
    assert second.started_at.tzinfo is not None


def test_an_unanswered_turn_is_there(store: Store) -> None:
    call = store.sessions.create(persona="default", keep_transcript=True)
    store.turns.begin(call.id, "Hello?")
    (turn,) = store.turns.list(call.id)
    assert turn.user_text == "Hello?"
    assert turn.finished_at is None


def test_words_are_not_stored_when_the_persona_says_so(store: Store) -> None:
    call = store.sessions.create(persona="discreet", keep_transcript=False)
    index = store.turns.begin(call.id, "My secret.")
    store.turns.finish(call.id, index, "Heard.", interrupted=False, ms={"transcript": 1})
    (turn,) = store.turns.list(call.id)
    assert turn.user_text is None
    assert turn.agent_text is None
    assert turn.ms == {"transcript": 1}


def test_the_first_end_wins(store: Store) -> None:
    call = store.sessions.create(persona="default", keep_transcript=True)
    assert store.sessions.end(call.id, EndState.CALLER_LEFT, "hung up")
    assert not store.sessions.end(call.id, EndState.FAILED, "too late")
    ended = store.sessions.get(call.id)
    assert (ended.state, ended.reason) == ("caller_left", "hung up")
    assert ended.ended_at is not None
    assert store.sessions.open() == []
    assert not store.sessions.end("nobody", EndState.FAILED)


def test_a_call_ends_only_in_a_known_state(store: Store) -> None:
    call = store.sessions.create(persona="default", keep_transcript=True)
    with pytest.raises(ValueError, match="vanished"):
        store.sessions.end(call.id, "vanished")


def test_joining_is_noted_once(store: Store) -> None:
    call = store.sessions.create(persona="default", keep_transcript=True)
    store.sessions.mark_joined(call.id)
    first = store.sessions.get(call.id).joined_at
    store.sessions.mark_joined(call.id)
    assert first is not None
    assert store.sessions.get(call.id).joined_at == first


def test_list_is_newest_first_and_limited(store: Store) -> None:
    made = [store.sessions.create(persona="default", keep_transcript=True) for _ in range(3)]
    assert [call.id for call in store.sessions.list(2)] == [made[2].id, made[1].id]
    assert [call.id for call in store.sessions.open()] == [call.id for call in made]


def test_seats_are_counted_atomically(store: Store, database_url: str) -> None:
    """40 threads over two stores want 3 seats: exactly 3 get one."""
    other = Store(database_url)
    outcomes: list[str] = []
    barrier = threading.Barrier(40)

    def admit(number: int) -> None:
        barrier.wait()
        try:
            (store, other)[number % 2].sessions.create(
                persona="default", keep_transcript=True, seats=3
            )
            outcomes.append("seat")
        except NotReady as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=admit, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert sorted(outcomes) == ["box_full"] * 37 + ["seat"] * 3


def test_two_writers_of_one_call_never_share_an_index(store: Store) -> None:
    call = store.sessions.create(persona="default", keep_transcript=True)
    indexes: list[int] = []
    threads = [
        threading.Thread(target=lambda: indexes.append(store.turns.begin(call.id, "x")))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(indexes) == list(range(12))


def test_what_does_not_exist_is_said(store: Store) -> None:
    call = store.sessions.create(persona="default", keep_transcript=True)
    with pytest.raises(NotFound, match="There is no call 'nobody'"):
        store.sessions.get("nobody")
    with pytest.raises(NotFound):
        store.turns.begin("nobody", "hello")
    with pytest.raises(NotFound, match="has no turn 7"):
        store.turns.finish(call.id, 7, "x", interrupted=False, ms={})
    assert store.turns.list("nobody") == []


def test_a_newer_database_is_refused_and_left_alone(store: Store, database_url: str) -> None:
    with store.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ApplianceError) as caught:
        upgrade(database_url)
    assert caught.value.code == "database_newer"
