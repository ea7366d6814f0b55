"""tests/unit/test_store_durability.py on Postgres."""

from __future__ import annotations

import pytest

from tests.unit.test_store_durability import *  # noqa: F403 - every test of it

pytestmark = pytest.mark.services
