"""Old calls are deleted by themselves, again after failures, and their words leave the files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.personas import Persona
from appliance.settings import Settings
from appliance.store import Store, open_store
from services.panel.purge import EVERY_S, SCRUB_AGAIN_S, Deletion, Purge
from services.panel.retention import retention_sentence
from tests.canary import files_with
from tests.unit.test_store_calls import NOW, held

pytestmark = pytest.mark.unit
CANARY = "canary-" + "r" * 40


class Time:
    """A clock and a sleep that a test moves; ``run`` lets the job sleep so many times."""

    def __init__(self) -> None:
        self.now = NOW
        self.slept: list[float] = []
        self.let = 1000
        self.over = asyncio.Event()
        self.when_asleep: Callable[[], object] = lambda: None

    async def sleep(self, seconds: float) -> None:
        """Time passes at once, until nobody lets it."""
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)
        self.when_asleep()
        if len(self.slept) >= self.let:
            self.over.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    async def run(self, job: Awaitable[None], sleeps: int) -> None:
        """Let the job run until it has slept so many times in all."""
        self.let = sleeps
        task = asyncio.ensure_future(job)
        async with asyncio.timeout(30):
            await self.over.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A box that keeps calls for thirty days."""
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """Its store."""
    store = open_store(settings)
    yield store
    store.close()


async def test_what_is_too_old_goes_and_the_log_says_so(
    settings: Settings, store: Store, tmp_path: Path
) -> None:
    held(store, (f"{CANARY}?", f"{CANARY}!"), days_ago=31)
    new = held(store, ("new", "yes"), days_ago=29)
    live = held(store, ("live", "yes"), days_ago=40, open_still=True)
    time = Time()
    purge = Purge(settings, store, lambda: time.now, time.sleep)
    assert files_with(CANARY, tmp_path)
    assert await purge.step() == Deletion(1, 1, True)
    assert files_with(CANARY, tmp_path) == []
    assert {one.id for one in store.sessions.list()} == {new.id, live.id}
    (entry,) = store.audit.list()[0]
    assert (entry.actor, entry.action) == ("box", "calls.purged")
    assert entry.detail == {"calls": 1, "older_than_days": 30}
    assert await purge.step() == Deletion(0, 0, True)
    assert store.audit.list()[1] == 1


async def test_zero_days_means_never(store: Store, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", access={"keep_calls_days": 0})
    held(store, ("old", "yes"), days_ago=4000)
    assert await Purge(settings, store, lambda: NOW).step() == Deletion(0, 0, True)
    assert len(store.sessions.list()) == 1


async def test_it_runs_at_the_start_and_every_hour(settings: Settings, store: Store) -> None:
    time = Time()
    due = held(store, ("a", "b"), days_ago=30.02)
    soon = held(store, ("a", "b"), days_ago=29.98)
    left: list[set[str]] = []
    time.when_asleep = lambda: left.append({one.id for one in store.sessions.list()})
    hour = round(EVERY_S / SCRUB_AGAIN_S)
    await time.run(Purge(settings, store, lambda: time.now, time.sleep).run(), sleeps=hour + 1)
    assert left == [{soon.id}] * hour + [set()]
    assert due.id != soon.id


async def test_a_failure_is_no_end(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(store, ("a", "b"), days_ago=31)
    whole = store.calls.delete_ended
    errors: list[Exception] = [ApplianceError("disk_full", "Full."), ZeroDivisionError()]

    def delete_ended(before: datetime | None = None) -> object:
        if errors:
            raise errors.pop(0)
        return whole(before)

    monkeypatch.setattr(store.calls, "delete_ended", delete_ended)
    time = Time()
    purge = Purge(settings, store, lambda: time.now, time.sleep)
    await time.run(purge.run(), sleeps=2 * round(EVERY_S / SCRUB_AGAIN_S) + 1)
    assert errors == []
    assert store.sessions.list() == []


async def test_scrubbing_is_tried_again_until_it_is_done(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(store, ("a", "b"), days_ago=31)
    answers = [False] * 12
    monkeypatch.setattr(store, "scrub", lambda: answers.pop() if answers else True)
    time = Time()
    purge = Purge(settings, store, lambda: time.now, time.sleep)
    deletion = await purge.delete_all()
    assert deletion == Deletion(1, 1, False)
    assert len(answers) == 7
    await time.run(purge.run(), sleeps=12)
    assert answers == []
    assert time.slept == [0.2] * 8 + [SCRUB_AGAIN_S] + [0.2] * 2 + [SCRUB_AGAIN_S]


async def test_a_box_that_died_after_a_deletion_scrubs_at_its_start(
    settings: Settings, store: Store, tmp_path: Path
) -> None:
    held(store, (f"{CANARY}?", None))
    store.calls.delete_ended()
    assert files_with(CANARY, tmp_path)
    time = Time()
    await time.run(Purge(settings, store, lambda: time.now, time.sleep).run(), sleeps=1)
    assert files_with(CANARY, tmp_path) == []


def test_days_before_the_beginning_of_time(settings: Settings, store: Store) -> None:
    purge = Purge(settings, store, lambda: NOW)
    assert purge.before(36_500) < NOW
    assert purge.before(10**9) == datetime.min.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("keep", "days", "holds"),
    [
        (True, 30, "kept as text for 30 days; the sound is never kept."),
        (True, 1, "kept as text for 1 day; "),
        (True, 0, "until the owner of this box deletes them"),
        (False, 30, "Neither the words nor the sound of this call are kept"),
    ],
)
def test_the_caller_reads_what_is_kept(tmp_path: Path, keep: bool, days: int, holds: str) -> None:
    settings = Settings(data_dir=tmp_path, access={"keep_calls_days": days})
    persona = Persona(name="a", instructions="b", keep_transcript=keep)
    assert holds in retention_sentence(persona, settings)


def test_an_unreadable_persona_promises_nothing(settings: Settings) -> None:
    assert "kept as text for 30 days" in retention_sentence(None, settings)
