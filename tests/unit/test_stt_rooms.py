"""What is remembered of a room."""

from __future__ import annotations

import pytest

from services.stt.rooms import _MOST, Rooms

pytestmark = pytest.mark.unit


def test_a_room_keeps_its_language() -> None:
    rooms = Rooms()
    assert rooms.language("kitchen") == ""
    rooms.learn("kitchen", "de")
    assert rooms.language("kitchen") == "de"
    assert rooms.language("hall") == ""


def test_who_has_no_room_teaches_nothing() -> None:
    rooms = Rooms()
    rooms.learn("", "de")
    assert rooms.language("") == ""


def test_the_room_that_was_heard_least_recently_is_forgotten() -> None:
    rooms = Rooms()
    for number in range(_MOST):
        rooms.learn(str(number), "de")
    assert rooms.language("0") == "de"
    rooms.learn("another", "en")
    assert rooms.language("0") == "de"
    assert rooms.language("1") == ""
