"""Whatever is asked of the API, it answers as it says it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.results import note
from tests.security.fuzzing import fuzz

pytestmark = pytest.mark.security
_CASES = 1300


@pytest.mark.timeout(900)
def test_no_request_breaks_the_api(tmp_path: Path) -> None:
    seen = fuzz(_CASES, tmp_path / "data")
    note("API fuzzing", asked=seen.asked, statuses=dict(sorted(seen.statuses.items())))
    assert seen.faults == {}
    assert seen.asked >= 1000
    # It reached the handlers, and was kept out where it had to be.
    assert seen.statuses[200] > 50
    assert seen.statuses[401] > 100
    assert seen.statuses[400] > 100
