"""kill -9 of each program while nobody calls: the truth is told and all comes back by itself."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.box import PROGRAMS, Box
from tests.recordings import DATA
from tests.results import note
from tests.waiting import until

pytestmark = pytest.mark.chaos

BACK_S = 90


def _ready(box: Box) -> dict[str, object] | None:
    """The whole box's own word, or None where nobody answers."""
    try:
        answer = httpx.get(f"{box.url}/readyz", trust_env=False, timeout=5)
        told: dict[str, object] = answer.json()
    except (httpx.HTTPError, ValueError):
        return None
    assert (answer.status_code == 200) == told.get("ready", False)
    return told


@pytest.mark.timeout(240)
@pytest.mark.parametrize("program", PROGRAMS)
def test_killed_while_idle_comes_back(box: Box, program: str) -> None:
    box.wait_ready()
    killed = box.pid(program)
    at = time.monotonic()
    box.kill(program)

    def told() -> bool:
        answer = _ready(box)
        # Where the panel is away, the front door answers in its place, with an error.
        return answer is None or not answer.get("ready", False)

    def is_back() -> bool:
        # A quick one can be there again before anybody has looked.
        return box.pid(program) not in (0, killed)

    until(lambda: told() or is_back(), 15, f"readyz saying that {program} is gone")
    until(lambda: not told(), BACK_S, f"{program} ready again")
    note("ready again after kill -9", program=program, seconds=round(time.monotonic() - at, 1))
    assert box.pid(program) != killed
    box.wait_ready()


@pytest.mark.timeout(240)
def test_after_all_that_a_call_works(box: Box) -> None:
    box.wait_ready()
    assert box.status()["ready"]
    report = box.call(DATA / "questions" / "france.flac")
    assert report["turns"][0]["answered"]
