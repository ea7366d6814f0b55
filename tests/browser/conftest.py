"""A box with one seat, shared by the journeys of its owner and of guests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.box import Box
from tests.browser.chromium import Cookies


@dataclass(frozen=True)
class FreshBox:
    """A box that nobody owned when it was started."""

    box: Box
    printed: str


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreshBox]:
    """The box, and what was printed at its start."""
    box = Box(tmp_path_factory.mktemp("fresh"), {"APPLIANCE_AGENT__SEATS": "1"})
    try:
        yield FreshBox(box, box.start())
    finally:
        box.stop()


@pytest.fixture(scope="session")
def owner(fresh: FreshBox) -> Cookies:
    """Its owner's sign-in; `admin reset` has replaced the password that was set before."""
    return fresh.box.sign_in()
