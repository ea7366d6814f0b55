"""The page on which the box measures itself: one at a time, never while somebody is on the line."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.measuring import results
from services.panel.measuring import Measuring
from tests.panel_app import Panel, box_settings, running_panel, stranger, until
from tests.unit.test_measuring import measured

pytestmark = pytest.mark.unit

WISH = {"rooms": "2", "turns": "3"}
_WELL = "import sys; sys.stderr.write('1 of 6\\n6 of 6\\n')"
_BADLY = "import sys; sys.stderr.write('1 of 6\\nThe box is full.\\n'); sys.exit(3)"
# Until it is told to stop, which ends it at once.
_LONG = "import signal, sys; sys.stderr.write('2 of 6\\n'); sys.stderr.flush(); signal.pause()"

_ENDLESS_LINE = "import signal, sys; sys.stderr.write('x' * 100_000); signal.pause()"


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    async with running_panel(box_settings(tmp_path / "data")) as panel:
        yield panel


def _measuring(panel: Panel, program: str) -> Measuring:
    """What the page starts is this program."""
    settings, state = panel.app.state.settings, panel.app.state
    command = (sys.executable, "-c", program)
    state.measuring = Measuring(settings, panel.desk, state.readiness, command)
    made: Measuring = state.measuring
    return made


async def test_a_measurement_runs_in_the_background_and_says_how_far_it_is(panel: Panel) -> None:
    measuring = _measuring(panel, _LONG)
    try:
        begun = await panel.http.post("/speed/measure", data=WISH)
        assert " of 6 questions" in begun.text
        await until(lambda: measuring.progress().done == 2)
        shown = await panel.http.get("/speed/state")
        assert 'max="6" value="2"' in shown.text
        again = await panel.http.post("/speed/measure", data=WISH)
        assert "under way already" not in again.text  # The page shows the one that runs.
        assert measuring.progress().running
    finally:
        await measuring.close()
    assert not measuring.running


async def test_its_end_is_shown_and_its_start_is_noted(panel: Panel) -> None:
    measuring = _measuring(panel, _WELL)
    await panel.http.post("/speed/measure", data={**WISH, "overlap": "true"})
    await until(lambda: not measuring.running)
    assert measuring.progress().problem == ""
    assert "hx-post" in (await panel.http.get("/speed")).text
    rows = (await panel.http.get("/api/v1/audit")).json()["rows"]
    assert (rows[0]["action"], rows[0]["detail"]) == (
        "measurement.started", {"rooms": 2, "turns": 3},
    )  # fmt: skip


async def test_the_commands_own_words_say_why_nothing_came_of_it(panel: Panel) -> None:
    measuring = _measuring(panel, _BADLY)
    await panel.http.post("/speed/measure", data=WISH)
    await until(lambda: not measuring.running)
    assert "The box is full." in (await panel.http.get("/speed")).text


async def test_a_program_that_cannot_be_followed_is_ended_and_the_page_says_so(
    panel: Panel,
) -> None:
    """A line of 100 kB is more than the panel reads at once."""
    measuring = _measuring(panel, _ENDLESS_LINE)
    await panel.http.post("/speed/measure", data=WISH)
    await until(lambda: not measuring.running)
    assert measuring.progress().problem == "The measurement broke off."
    process = measuring._process
    assert process is not None
    await until(lambda: process.returncode is not None)


async def test_nobody_on_the_line_is_disturbed(panel: Panel) -> None:
    measuring = _measuring(panel, _WELL)
    await panel.open()
    refused = await panel.http.post("/speed/measure", data=WISH)
    assert "Somebody is on the line" in refused.text
    assert not measuring.running


async def test_a_box_that_takes_no_calls_is_not_measured(panel: Panel) -> None:
    measuring = _measuring(panel, _WELL)
    panel.status["tts"] = "It loads its voice."
    refused = await panel.http.post("/speed/measure", data=WISH)
    assert "takes no calls now" in refused.text
    assert not measuring.running


async def test_results_are_listed_drawn_and_taken_away(panel: Panel) -> None:
    folder = results.folder_of(panel.app.state.settings)
    results.writable(folder)
    path = results.write(folder, measured())
    (folder / "calls-20261122-000000-0000.json").write_text('{"ours": {}}')
    page = await panel.http.get("/speed")
    assert "2 of 2" in page.text
    assert "1000 ms" in page.text
    picture = await panel.http.get(f"/speed/{path.stem}.svg")
    assert picture.headers["content-type"].startswith("image/svg+xml")
    assert picture.content == path.with_suffix(".svg").read_bytes()
    assert (await panel.http.get(f"/speed/{path.stem}.json")).json()["plan"]["rooms"] == 2
    for name in ("calls-20261122-000009-ffff", "..%2Fappliance"):
        assert (await panel.http.get(f"/speed/{name}.json")).status_code == 404


@pytest.mark.parametrize("wrong", [{"rooms": "0"}, {"turns": "1000"}, {"rooms": "many"}])
async def test_impossible_wishes_are_refused(panel: Panel, wrong: dict[str, str]) -> None:
    measuring = _measuring(panel, _WELL)
    answer = await panel.http.post("/speed/measure", data={**WISH, **wrong})
    assert answer.status_code in (400, 422)
    assert not measuring.running


async def test_only_the_owner_measures(panel: Panel) -> None:
    measuring = _measuring(panel, _WELL)
    async with stranger(panel) as nobody:
        answer = await nobody.post("/speed/measure", data=WISH)
    assert answer.status_code in (303, 401)
    assert not measuring.running
