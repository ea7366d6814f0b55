"""Who reaches the model next, and with whom."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from services.stt import turnstile as module
from services.stt.turnstile import Request, Step, Turnstile
from tests.waiting import until

pytestmark = pytest.mark.unit

WITHIN_S = 30.0


def request(turnstile: Turnstile, rank: int = 0) -> Request:
    return Request(turnstile, rank, threading.Event())


class Line:
    """Callers in threads of their own, who pass a turnstile one behind the other."""

    def __init__(self, turnstile: Turnstile) -> None:
        self.turnstile = turnstile
        self.done: list[list[str]] = []
        self.got: dict[str, Any] = {}
        self.requests: dict[str, Request] = {}
        self._threads: list[threading.Thread] = []

    def joins(
        self,
        name: str,
        rank: int = 0,
        kind: str = "encode",
        most: int = 4,
        of: Request | None = None,
    ) -> None:
        """Ask for a step, and come back once it is in line."""
        self.requests[name] = asked = of or request(self.turnstile, rank)
        step = Step(kind, name, most, self.work)
        before = len(self.turnstile._waiting)

        def ask() -> None:
            try:
                self.got[name] = self.turnstile.together(asked, step)
            except ValueError as error:
                self.got[name] = str(error)

        thread = threading.Thread(target=ask)
        self._threads.append(thread)
        thread.start()
        until(lambda: name in self.got or len(self.turnstile._waiting) > before)

    def work(self, names: Sequence[str]) -> Sequence[str]:
        if any("broken" in name for name in names):
            raise ValueError("broken")
        self.done.append(list(names))
        return [name.upper() for name in names]

    def ends(self) -> None:
        for thread in self._threads:
            thread.join(WITHIN_S)
            assert not thread.is_alive()


@pytest.fixture
def line() -> Line:
    return Line(Turnstile())


def held(line: Line, meanwhile: Callable[[], None]) -> None:
    """Do something while the model is taken, then let everybody through."""
    with line.turnstile.turn(request(line.turnstile)):
        meanwhile()
        assert line.done == []
    line.ends()


def all_join(line: Line, names: Sequence[str], most: int = 4) -> None:
    for name in names:
        line.joins(name, most=most)


def test_the_most_urgent_waiter_goes_first_and_equals_in_order() -> None:
    turnstile = Turnstile()
    order: list[str] = []

    def wait(name: str, rank: int) -> None:
        with turnstile.turn(request(turnstile, rank)):
            order.append(name)

    with turnstile.turn(request(turnstile)):
        threads = []
        for number, (name, rank) in enumerate(
            [("interim", 4), ("first live", 0), ("speculative", 2), ("second live", 0)], start=1
        ):
            thread = threading.Thread(target=wait, args=(name, rank))
            thread.start()
            threads.append(thread)
            until(functools.partial(_has_waiting, turnstile, number))
        assert order == []
    for thread in threads:
        thread.join(WITHIN_S)
        assert not thread.is_alive()
    assert order == ["first live", "second live", "speculative", "interim"]


def _has_waiting(turnstile: Turnstile, count: int) -> bool:
    return len(turnstile._waiting) == count


def test_an_error_inside_frees_the_model() -> None:
    turnstile = Turnstile()
    with pytest.raises(ValueError, match="inside"), turnstile.turn(request(turnstile)):
        raise ValueError("inside")
    with turnstile.turn(request(turnstile)):
        pass


def test_alike_steps_of_one_rank_are_done_at_once(line: Line) -> None:
    def meanwhile() -> None:
        line.joins("a")
        line.joins("interim", rank=4)
        line.joins("b")
        line.joins("other", kind="write")
        line.joins("c")

    held(line, meanwhile)
    assert line.done == [["a", "b", "c"], ["other"], ["interim"]]
    assert line.got == {name: name.upper() for name in ("a", "b", "c", "other", "interim")}


def test_no_more_than_fit_go_together(line: Line) -> None:
    held(line, lambda: all_join(line, "abc", most=2))
    assert line.done == [["a", "b"], ["c"]]


def test_what_was_begun_goes_before_what_came_later(line: Line) -> None:
    first = request(line.turnstile)

    def meanwhile() -> None:
        line.joins("later")
        line.joins("first's second", kind="write", of=first)

    held(line, meanwhile)
    assert line.done == [["first's second"], ["later"]]


def test_one_that_spoils_a_step_spoils_its_own(line: Line) -> None:
    held(line, lambda: all_join(line, ("a", "broken", "b")))
    assert line.got == {"a": "A", "broken": "broken", "b": "B"}
    assert line.done == [["a"], ["b"]]


def test_one_that_was_stopped_is_left_out(line: Line) -> None:
    def meanwhile() -> None:
        for name in "abc":
            line.joins(name)
        line.requests["a"].stop.set()
        line.requests["b"].stop.set()

    held(line, meanwhile)
    assert line.done == [["c"]]
    assert line.got == {"a": None, "b": None, "c": "C"}


def test_nobody_waits_who_is_alone(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW_S", 1e6)
    asked = request(line.turnstile)
    asked.expect()
    other = request(line.turnstile, rank=4)
    other.expect()
    assert line.turnstile.together(asked, Step("encode", "a", 4, line.work)) == "A"


def test_a_step_waits_for_one_that_is_coming(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW_S", 1e6)
    coming = request(line.turnstile)
    coming.expect()
    line.joins("a")
    assert line.done == []
    line.joins("b", of=coming)
    line.ends()
    # In the order in which their requests came.
    assert line.done == [["b", "a"]]


def test_who_does_not_come_after_all_is_not_waited_for(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW_S", 1e6)
    coming = request(line.turnstile)
    coming.expect()
    line.joins("a")
    coming.over()
    line.ends()
    assert line.done == [["a"]]


def test_who_is_late_is_not_waited_for(line: Line) -> None:
    coming = request(line.turnstile)
    coming.expect()
    line.joins("a")
    line.ends()
    assert line.done == [["a"]]


def test_more_urgent_work_does_not_wait_for_the_window_of_others(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW_S", 1e6)
    coming = request(line.turnstile, rank=2)
    coming.expect()
    line.joins("guess", rank=2)
    assert line.turnstile.together(request(line.turnstile), Step("x", "live", 1, line.work))
    coming.over()
    line.ends()
    assert line.done == [["live"], ["guess"]]
