"""Many callers for four seats, through the real front door."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.admission import SEATS, seated, storm
from tests.panel_box import running_box
from tests.results import note

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]

REQUESTS = 1_000
AT_ONCE = 100


async def test_no_more_are_let_in_than_there_are_seats(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with running_box(seated(tmp_path / "data", SEATS), free_port) as box:
        await box.start_front()
        seen = await storm(box, REQUESTS, AT_ONCE, admitted=2 * SEATS)
    note("many callers for four seats", requests=REQUESTS, at_once=AT_ONCE, **seen.as_json())
    assert set(seen.answers) == {"201", "503 box_full"}, "something else than a seat or a busy line"
    assert sum(seen.answers.values()) >= REQUESTS
    assert seen.answers["201"] > SEATS, "no seat was given twice in all that time"
    assert 1 <= seen.most_at_once <= SEATS
