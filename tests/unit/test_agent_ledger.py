"""Turns on their way to the store and to the page, when one of the two is slow or broken."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import ApplianceError
from appliance.store import Store, Turn, upgrade
from services.agent import ledger
from services.agent.ledger import Finished, Ledger
from tests.agent_fakes import until

pytestmark = pytest.mark.unit


class Kept:
    """A ledger over a real store, and what the page got."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.call = store.sessions.create(persona="default", keep_transcript=True)
        self.told: list[str] = []
        self.page = asyncio.Event()
        self.page.set()
        self.ledger = Ledger(store, self.call.id, self._publish)

    async def _publish(self, text: str, _topic: str) -> None:
        await self.page.wait()
        self.told.append(json.loads(text)["user_text"])

    def turn(self, number: int) -> None:
        """One whole turn."""
        self.ledger.begin(number, f"q{number}")
        self.ledger.finish(number, Finished(f"q{number}", f"a{number}", False, {}, {}))

    def stored(self) -> list[tuple[str | None, str | None]]:
        turns: list[Turn] = self.store.turns.list(self.call.id)
        return [(turn.user_text, turn.agent_text) for turn in turns]


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    url = f"sqlite:///{tmp_path / 'appliance.db'}"
    upgrade(url)
    store = Store(url)
    yield Kept(store)
    store.close()


def failing(
    monkeypatch: pytest.MonkeyPatch, kept: Kept, name: str, error: Exception, times: int
) -> None:
    """Let the store's next calls of this name fail."""
    real: Callable[..., Any] = getattr(kept.store.turns, name)
    left = times

    def work(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(kept.store.turns, name, work)


def busy(*, can_retry: bool = True) -> ApplianceError:
    return ApplianceError("database_unavailable", "Busy.", can_retry=can_retry)


async def test_a_page_that_takes_nothing_stops_no_writing(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "_PUBLISH_S", 0.05)
    kept.page.clear()
    kept.turn(0)
    kept.turn(1)
    assert await kept.ledger.written(5)
    assert kept.stored() == [("q0", "a0"), ("q1", "a1")]
    await until(lambda: not kept.ledger._to_page._left)
    kept.page.set()
    kept.turn(2)
    kept.turn(3)
    await kept.ledger.aclose()
    assert kept.told == ["q2", "q3"]


@pytest.mark.parametrize("name", ["begin", "finish"])
async def test_a_foreign_error_costs_one_turn(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    failing(monkeypatch, kept, name, ValueError("secret words"), 2 if name == "begin" else 1)
    kept.turn(0)
    kept.turn(1)
    await kept.ledger.aclose()
    assert kept.stored()[-1] == ("q1", "a1")
    assert kept.told == ["q0", "q1"]


@pytest.mark.parametrize("name", ["begin", "finish"])
async def test_a_busy_store_is_asked_again(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(ledger, "_PAUSES_S", (0.01, 0.01))
    failing(monkeypatch, kept, name, busy(), 2)
    kept.turn(0)
    await kept.ledger.aclose()
    assert kept.stored() == [("q0", "a0")]


async def test_a_turn_whose_beginning_was_lost_is_written_at_its_end(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, kept, "begin", busy(can_retry=False), 1)
    kept.turn(0)
    await kept.ledger.aclose()
    assert kept.stored() == [("q0", "a0")]


async def test_a_store_that_hangs_holds_nobody_up(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "_CLOSE_S", 0.05)
    monkeypatch.setattr(ledger, "_CANCEL_S", 0.05)
    go, released = threading.Event(), list[bool]()

    def hang(*_: object) -> None:
        released.append(go.wait(30))

    monkeypatch.setattr(kept.store.turns, "begin", hang)
    kept.turn(0)
    try:
        assert not await kept.ledger.written(0.02)
        await kept.ledger.aclose()
        assert not released
    finally:
        go.set()
