"""The cores go to whoever would fall silent first."""

from __future__ import annotations

import threading

import pytest

from appliance.serving import Priority, Rank
from services.tts.cores import Cores, Order
from services.tts.pacing import Lead
from tests.waiting import until

pytestmark = pytest.mark.unit

WAIT_S = 30.0


def order(lead_s: float | None, rank: Rank | None = None) -> Order:
    """A request that was first heard at 0 and has so much sound on its way."""
    lead = Lead(lambda: 0.0)
    if lead_s is not None:
        lead.sent(lead_s)
    return Order(rank or Rank(), True, lead)


def served(cores: Cores, orders: dict[str, Order]) -> list[str]:
    """The names in the order in which they get a place that somebody else holds first."""
    found: list[str] = []
    waiting = threading.Barrier(len(orders) + 1)

    def ask(name: str, its: Order) -> None:
        waiting.wait()
        with cores.place(its):
            found.append(name)

    threads = [threading.Thread(target=ask, args=pair) for pair in orders.items()]
    with cores.place(order(None)):
        for thread in threads:
            thread.start()
        waiting.wait()
        until(lambda: len(cores._waiting) == len(orders))
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    return found


def test_a_newcomer_goes_before_those_who_are_ahead() -> None:
    asked = {"far": order(5.0), "new": order(None), "near": order(0.5)}
    assert served(Cores(1), asked) == ["new", "near", "far"]


def test_live_goes_before_speculation_that_has_nothing_yet() -> None:
    asked = {"speculative": order(None, Rank(Priority.SPECULATIVE)), "live": order(3.0)}
    assert served(Cores(1), asked) == ["live", "speculative"]


def test_an_answer_whose_turn_is_over_goes_before_those_that_are_begun_early() -> None:
    cores, found = Cores(1), list[str]()
    early, late = (Rank(Priority.PREEMPTIVE, name) for name in ("early", "late"))

    def ask(name: str, rank: Rank) -> None:
        with cores.place(order(None, rank)):
            found.append(name)

    threads = [
        threading.Thread(target=ask, args=pair) for pair in (("early", early), ("late", late))
    ]
    with cores.place(order(None)):
        for number, thread in enumerate(threads, 1):
            thread.start()
            until(lambda number=number: len(cores._waiting) == number)  # type: ignore[misc]
        late.raised()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert found == ["late", "early"]


class Rising(Rank):
    """Rises between two looks at it."""

    looks = -1

    @property
    def priority(self) -> Priority:
        """Preemptive at the first look after ``looks`` was set to 0, live from then on."""
        if self.looks < 0:
            return Priority.PREEMPTIVE
        self.looks += 1
        return Priority.PREEMPTIVE if self.looks == 1 else Priority.LIVE

    @priority.setter
    def priority(self, value: Priority) -> None:
        pass


def test_a_place_that_is_given_back_while_a_rank_rises_is_taken() -> None:
    cores, rising, found = Cores(1), Rising(), list[str]()

    def ask(name: str, lead_s: float, rank: Rank) -> None:
        with cores.place(order(lead_s, rank)):
            found.append(name)

    threads = [
        threading.Thread(target=ask, args=args, daemon=True)
        for args in (("rising", 0.1, rising), ("live", 3.0, Rank()))
    ]
    with cores.place(order(None)):
        for number, thread in enumerate(threads, 1):
            thread.start()
            until(lambda number=number: len(cores._waiting) == number)  # type: ignore[misc]
        rising.looks = 0
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert sorted(found) == ["live", "rising"]


def test_two_places_are_two() -> None:
    cores = Cores(2)
    with cores.place(order(None)), cores.place(order(None)):
        third = threading.Thread(target=lambda: cores.place(order(None)).__enter__())
        third.start()
        until(lambda: len(cores._waiting) == 1)
    third.join(WAIT_S)
    assert not third.is_alive()


def test_a_place_is_given_back_after_a_failure() -> None:
    cores = Cores(1)
    with pytest.raises(ZeroDivisionError), cores.place(order(None)):
        _ = 1 / 0
    with cores.place(order(None)):
        pass
