"""Who reaches the model next."""

from __future__ import annotations

import functools
import threading

import pytest

from services.stt.turnstile import Turnstile
from tests.waiting import until

pytestmark = pytest.mark.unit


def test_the_most_urgent_waiter_goes_first_and_equals_in_order() -> None:
    turnstile = Turnstile()
    order: list[str] = []

    def wait(name: str, rank: int) -> None:
        with turnstile.turn(rank):
            order.append(name)

    with turnstile.turn(0):
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
        thread.join(30)
    assert order == ["first live", "second live", "speculative", "interim"]


def _has_waiting(turnstile: Turnstile, count: int) -> bool:
    return len(turnstile._waiting) == count


def test_an_error_inside_frees_the_model() -> None:
    turnstile = Turnstile()
    with pytest.raises(ValueError, match="inside"), turnstile.turn(0):
        raise ValueError("inside")
    with turnstile.turn(0):
        pass
