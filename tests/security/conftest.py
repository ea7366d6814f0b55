"""Passwords cost the tests little, but for those whose subject is what they cost."""

from __future__ import annotations

from functools import partial

import pytest
from argon2 import PasswordHasher

from services.panel.access import passwords


@pytest.fixture
def costly_passwords() -> None:
    """Asked for by tests that want the product's own strength."""


@pytest.fixture(autouse=True)
def _cheap_passwords(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "costly_passwords" not in request.fixturenames:
        cheap = partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
        monkeypatch.setattr(passwords, "PasswordHasher", cheap)
