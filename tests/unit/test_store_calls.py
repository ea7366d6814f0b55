"""Past calls in the store: search, pages, feedback and deletion."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from appliance.errors import BadInput, NotFound, Refused
from appliance.store import EndState, Store, upgrade
from appliance.store.calls import Deleted
from appliance.store.links import Terms
from appliance.store.models import SessionRow
from appliance.store.searching import Wanted
from appliance.store.vocabulary import PAGE_VISIT, Session, Visit

pytestmark = pytest.mark.unit
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A store with its tables."""
    upgrade(database_url)
    store = Store(database_url)
    yield store
    store.close()


def held(
    store: Store,
    *words: tuple[str | None, str | None],
    persona: str = "default",
    keep: bool = True,
    visit: Visit = PAGE_VISIT,
    days_ago: float = 0,
    open_still: bool = False,
) -> Session:
    """A call with these exchanges; ended, that many days before ``NOW``, unless it is open still."""
    call = store.sessions.create(persona=persona, keep_transcript=keep, visit=visit)
    for user, agent in words:
        index = store.turns.begin(call.id, user)
        store.turns.finish(call.id, index, agent, interrupted=False, ms={})
    moment = NOW - timedelta(days=days_ago)
    values: dict[str, datetime] = {"created_at": moment}
    if not open_still:
        store.sessions.end(call.id, EndState.COMPLETED)
        values["ended_at"] = moment
    with store.write() as connection:
        connection.execute(update(SessionRow).where(SessionRow.id == call.id).values(values))
    return store.sessions.get(call.id)


def ids(store: Store, wanted: Wanted) -> list[str]:
    return [found.session.id for found in store.calls.search(wanted).calls]


def test_search_reads_both_sides_the_notes_and_the_name(store: Store) -> None:
    asked = held(store, ("Where is Röntgen?", "On the second floor."), days_ago=1)
    answered = held(store, ("Hello", "RÖNTGEN is closed."), days_ago=2)
    noted = held(store, (None, "Hello"), days_ago=3)
    store.calls.judge(noted.id, "caller", thumb=None, note="I wanted röntgen")
    judged = held(store, days_ago=4)
    store.calls.judge(judged.id, "owner", thumb=-1, note="not the Röntgen again")
    named = held(store, visit=Visit("link", "Frau Röntgen"), days_ago=5)
    held(store, ("Something else", "Yes"))
    everywhere = [asked.id, answered.id, noted.id, judged.id, named.id]
    assert ids(store, Wanted(text="röntGEN")) == everywhere
    found = store.calls.search(Wanted(text="röntgen")).calls
    assert [one.excerpt for one in found] == [
        "Where is Röntgen?", "RÖNTGEN is closed.", "I wanted röntgen", "not the Röntgen again", "",
    ]  # fmt: skip
    assert [one.turns for one in found] == [1, 1, 1, 0, 0]


def test_a_long_answer_is_cut_around_the_place(store: Store) -> None:
    held(store, ("x", "a" * 500 + " needle " + "b" * 500))
    (found,) = store.calls.search(Wanted(text="Needle")).calls
    assert "needle" in found.excerpt
    assert found.excerpt.startswith("…a")
    assert found.excerpt.endswith("b…")
    assert len(found.excerpt) < 200


TEXTS = st.text(st.sampled_from("aAß%_/\\'\"ÉéİiςΣ ?*[]^"), max_size=8)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(said="50% off", text="0%")
@example(said="snake_case", text="e_c")
@example(said="snakeXcase", text="e_c")
@example(said="a/b", text="/")
@given(said=TEXTS, text=TEXTS.filter(bool))
def test_every_character_means_itself(store: Store, said: str, text: str) -> None:
    call = held(store, (said, None))
    assert (call.id in ids(store, Wanted(text=text))) == (text.casefold() in said.casefold())
    store.calls.delete_ended()


def test_filters(store: Store) -> None:
    page = held(store, days_ago=1)
    waiting_room = store.links.create(Terms("Waiting room", "doctor"))
    visit = Visit("link", link_id=waiting_room.id)
    link = held(store, visit=visit, persona="doctor", days_ago=2)
    live = held(store, open_still=True)
    store.calls.judge(page.id, "caller", thumb=1, note="")
    store.calls.judge(link.id, "owner", thumb=-1, note="Too slow.")
    assert ids(store, Wanted()) == [live.id, page.id, link.id]
    assert ids(store, Wanted(state="active")) == [live.id]
    assert ids(store, Wanted(state="ended")) == [page.id, link.id]
    assert ids(store, Wanted(state="completed", persona="doctor")) == [link.id]
    assert (
        ids(store, Wanted(origin="link"))
        == ids(store, Wanted(link_id=waiting_room.id))
        == [link.id]
    )
    assert store.calls.search(Wanted(origin="link")).calls[0].link_name == "Waiting room"
    assert store.calls.link_name(link) == "Waiting room"
    assert store.calls.link_name(page) == ""
    assert ids(store, Wanted(judged="up")) == [page.id]
    assert ids(store, Wanted(judged="down")) == ids(store, Wanted(judged="note")) == [link.id]
    assert ids(store, Wanted(judged="none")) == [live.id]
    since, until = NOW - timedelta(days=1.5), NOW - timedelta(hours=1)
    assert ids(store, Wanted(since=since)) == [live.id, page.id]
    assert ids(store, Wanted(until=until)) == [page.id, link.id]
    assert store.calls.personas() == ["default", "doctor"]


def test_pages_hold_every_call_once_even_at_one_moment(store: Store) -> None:
    made = {held(store, days_ago=number // 3).id for number in range(10)}
    seen: list[str] = []
    cursor = None
    while True:
        page = store.calls.search(Wanted(), limit=4, cursor=cursor)
        seen += [found.session.id for found in page.calls]
        cursor = page.cursor
        if cursor is None:
            break
    assert len(seen) == 10
    assert set(seen) == made
    moments = [store.sessions.get(one).created_at for one in seen]
    assert moments == sorted(moments, reverse=True)


@pytest.mark.parametrize("cursor", ["", "x", "1-", "-1-a", "99999999999999999999-a", "1-a'", "١-a"])
def test_a_foreign_cursor_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(BadInput):
        store.calls.search(Wanted(), cursor=cursor)


def test_the_largest_cursor_is_a_moment(store: Store) -> None:
    call = held(store)
    assert store.calls.search(Wanted(), cursor="99999999999999999-a").calls[0].session == call


def test_feedback_of_one_side_leaves_the_other(store: Store) -> None:
    call = held(store)
    store.calls.judge(call.id, "caller", thumb=1, note="Kind.")
    store.calls.judge(call.id, "owner", thumb=-1, note="")
    store.calls.judge(call.id, "owner", thumb=None, note="Read it.")
    now = store.sessions.get(call.id)
    assert (now.caller_thumb, now.caller_note) == (1, "Kind.")
    assert (now.owner_thumb, now.owner_note) == (None, "Read it.")


@pytest.mark.parametrize(("thumb", "note"), [(2, ""), (0, ""), (1, "x" * 2001), (1, "\x00")])
def test_what_is_no_feedback_is_refused(store: Store, thumb: int, note: str) -> None:
    call = held(store)
    with pytest.raises(BadInput):
        store.calls.judge(call.id, "caller", thumb=thumb, note=note)
    with pytest.raises(NotFound):
        store.calls.judge("nobody", "caller", thumb=1, note="")


def test_one_call_is_deleted_with_its_turns(store: Store) -> None:
    gone, stays = held(store, ("a", "b"), ("c", "d")), held(store, ("e", "f"))
    assert store.calls.delete(gone.id) == Deleted(1, 2)
    assert store.turns.list(gone.id) == []
    assert ids(store, Wanted()) == [stays.id]
    with pytest.raises(NotFound):
        store.calls.delete(gone.id)


def test_an_open_call_is_never_deleted(store: Store) -> None:
    live = held(store, ("a", "b"), open_still=True, days_ago=900)
    with pytest.raises(Refused):
        store.calls.delete(live.id)
    assert store.calls.delete_ended() == Deleted(0, 0)
    assert store.turns.list(live.id)


def test_deletion_by_age_counts_before_as_after(store: Store) -> None:
    old = [held(store, ("a", "b"), days_ago=31) for _ in range(3)]
    new = held(store, ("a", "b"), days_ago=29)
    before = NOW - timedelta(days=30)
    assert store.calls.count_ended(before) == len(old)
    assert store.calls.delete_ended(before) == Deleted(3, 3)
    assert ids(store, Wanted()) == [new.id]
    assert store.calls.count_ended() == 1


def test_a_deletion_in_pieces_takes_everything(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.store.calls._PIECE", 2)
    for _ in range(5):
        held(store, ("a", "b"))
    assert store.calls.delete_ended() == Deleted(5, 5)


def test_nothing_was_stored_where_nothing_is_kept(store: Store) -> None:
    call = held(store, ("My secret.", "Heard."), keep=False)
    (turn,) = store.turns.list(call.id)
    assert (turn.user_text, turn.agent_text) == (None, None)
    assert ids(store, Wanted(text="secret")) == []
    assert store.calls.delete(call.id) == Deleted(1, 1)
