"""The audit log and the failed tries at the password on Postgres."""

from __future__ import annotations

import pytest

from tests.security.test_audit import (
    store,
    test_a_change_is_seen,
    test_an_untouched_log_is_whole,
    test_hostile_words_are_kept_as_far_as_they_can_be,
    test_many_at_once_make_one_chain,
)
from tests.unit.test_access_throttle import (
    test_tries_are_counted_before_they_are_judged_and_outlive_the_program,
)

pytestmark = pytest.mark.services

__all__ = [
    "store",
    "test_a_change_is_seen",
    "test_an_untouched_log_is_whole",
    "test_hostile_words_are_kept_as_far_as_they_can_be",
    "test_many_at_once_make_one_chain",
    "test_tries_are_counted_before_they_are_judged_and_outlive_the_program",
]
