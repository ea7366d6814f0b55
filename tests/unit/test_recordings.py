"""What counts as all that was said, however many turns it became."""

from __future__ import annotations

import pytest

from tests.recordings import in_order

pytestmark = pytest.mark.unit

SAID = [
    "What is the capital of France?",
    "How many days are in a week?",
    "What is the largest ocean on Earth?",
]
FRANCE, WEEK, OCEAN = SAID


@pytest.mark.parametrize(
    ("heard", "all_of_it"),
    [
        (SAID, True),
        ([FRANCE, "How many", "days are in a week?", OCEAN], True),
        ([FRANCE, "How many days are in a weak?", OCEAN], True),
        ([FRANCE, OCEAN, WEEK], False),
        ([FRANCE, WEEK], False),
        ([FRANCE, FRANCE, WEEK, OCEAN], False),
        ([*SAID, OCEAN], False),
        ([], False),
    ],
)
def test_each_once_and_in_order(heard: list[str], all_of_it: bool) -> None:
    assert in_order(SAID, heard, 0.5) is all_of_it
