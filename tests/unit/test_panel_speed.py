"""The page on which the box measures itself: one at a time, never while somebody is on the line."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.measuring import results
from services.panel.measuring import MOST_TURNS, Measuring, Wish
from tests.panel_app import Panel, box_settings, running_panel, stranger, until
from tests.unit.test_measuring import measured

pytestmark = pytest.mark.unit

WISH = {"rooms": "2", "turns": "3"}
_WELL = "import sys; sys.stderr.write('1 of 6\\n6 of 6\\n')"
_BADLY = "import sys; sys.stderr.write('1 of 6\\nThe box is full.\\n'); sys.exit(3)"
# Until it is told to stop, which ends it at once.
_LONG = "import signal, sys; sys.stderr.write('2 of 6\\n'); sys.stderr.flush(); signal.pause()"

# As the command does: it leaves its rooms first and ends with a word.
_LEAVES = """
import signal, sys
try:
    sys.stderr.write('2 of 6\\n')
    sys.stderr.flush()
    signal.pause()
except KeyboardInterrupt:
    sys.stderr.write('Aborted!\\n')
    sys.exit(1)
"""
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


async def _opened(panel: Panel) -> Measuring:
    """As the panel's next start makes it."""
    made = _measuring(panel, _WELL)
    await made.open()
    return made


def _after_restart(measuring: Measuring) -> bool:
    return "restarted" in measuring.progress().problem


async def test_a_measurement_runs_in_the_background_and_says_how_far_it_is(panel: Panel) -> None:
    measuring = _measuring(panel, _LONG)
    try:
        begun = await panel.http.post("/speed/measure", data=WISH)
        assert " of 6 questions" in begun.text
        await until(lambda: measuring.progress().done == 2)
        shown = await panel.http.get("/speed/state")
        assert "2 of 6 questions are done." in shown.text
        assert 'max="6" value="2"' in shown.text
        # The line alone: what has the focus elsewhere on the page keeps it.
        assert "What was measured" not in shown.text
        assert "hx-retarget" not in shown.headers
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


async def test_the_whole_part_is_shown_once_when_it_is_over(panel: Panel) -> None:
    measuring = _measuring(panel, _WELL)
    await panel.http.post("/speed/measure", data=WISH)
    await until(lambda: not measuring.running)
    shown = await panel.http.get("/speed/state")
    assert "What was measured" in shown.text
    assert shown.headers["hx-retarget"] == "#speed"
    assert "every " not in shown.text


async def test_it_is_stopped_by_hand_and_the_page_says_so(panel: Panel) -> None:
    measuring = _measuring(panel, _LEAVES)
    begun = await panel.http.post("/speed/measure", data=WISH)
    assert 'hx-post="/speed/stop"' in begun.text
    await until(lambda: measuring.progress().done == 2)
    stopped = await panel.http.post("/speed/stop")
    assert not measuring.running
    assert "The measurement was stopped" in stopped.text
    assert "Aborted" not in stopped.text
    rows = (await panel.http.get("/api/v1/audit")).json()["rows"]
    assert [row["action"] for row in rows[:2]] == ["measurement.stopped", "measurement.started"]
    # Nobody is told after a restart what the owner did by hand.
    assert not _after_restart(await _opened(panel))


async def test_it_is_stopped_before_its_program_is_there(panel: Panel) -> None:
    measuring = _measuring(panel, _LEAVES)
    await measuring.start(Wish(1, 1, overlap=False))
    assert await measuring.stop()
    assert not measuring.running
    assert measuring.progress().stopped


async def test_stopping_what_is_over_shows_what_came_of_it(panel: Panel) -> None:
    measuring = _measuring(panel, _WELL)
    await panel.http.post("/speed/measure", data=WISH)
    await until(lambda: not measuring.running)
    late = await panel.http.post("/speed/stop")
    assert "was stopped" not in late.text
    rows = (await panel.http.get("/api/v1/audit")).json()["rows"]
    assert rows[0]["action"] == "measurement.started"


async def test_a_restart_in_the_middle_is_told_once(panel: Panel) -> None:
    measuring = _measuring(panel, _LEAVES)
    await panel.http.post("/speed/measure", data=WISH)
    await until(lambda: measuring.progress().done == 2)
    await measuring.close()
    again = await _opened(panel)
    assert _after_restart(again)
    assert "broke off when the panel was restarted" in (await panel.http.get("/speed")).text
    assert not _after_restart(await _opened(panel))


async def test_a_panel_that_was_killed_in_the_middle_is_told_too(panel: Panel) -> None:
    measuring = _measuring(panel, _LEAVES)
    try:
        await panel.http.post("/speed/measure", data=WISH)
        await until(lambda: measuring.progress().done == 2)
        # As the next panel's start finds the folder.
        assert _after_restart(await _opened(panel))
    finally:
        await measuring.close()


async def test_what_ended_by_itself_is_no_broken_measurement(panel: Panel) -> None:
    for program in (_WELL, _BADLY):
        measuring = _measuring(panel, program)
        await panel.http.post("/speed/measure", data=WISH)
        await until(lambda: not measuring.running)  # noqa: B023 - waited for in this round
        await measuring.close()
        assert not _after_restart(await _opened(panel))


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


async def test_the_limit_of_questions_is_named_and_the_form_is_checked(panel: Panel) -> None:
    wish = {**WISH, "turns": str(MOST_TURNS + 1)}
    refused = await panel.http.post("/speed/measure", data=wish)
    assert refused.status_code == 400
    assert f"at most {MOST_TURNS} questions" in refused.json()["error"]["message"]
    # A browser checks the fields of what is sent as a form, by its submit button.
    page = (await panel.http.get("/speed")).text
    form = page[page.index('<form id="speed-form"') : page.index("Measure</button>")]
    assert form.count("hx-post=") == 1
    assert 'hx-post="/speed/measure"' in form[: form.index(">")]
    assert '<button type="submit"' in form


async def test_what_spoilt_a_measurement_is_told_with_its_result(panel: Panel) -> None:
    folder = results.folder_of(panel.app.state.settings)
    results.writable(folder)
    for name, beside in (("1", 0), ("2", 1), ("3", 12)):
        told = json.dumps(measured() | {"callers_beside": beside})
        (folder / f"calls-20261122-000000-000{name}.json").write_text(told)
    old = json.dumps(measured())
    (folder / "calls-20261122-000000-0004.json").write_text(old)
    stopped = json.dumps(measured() | {"broken_off": True})
    (folder / "calls-20261122-000000-0005.json").write_text(stopped)
    page = (await panel.http.get("/speed")).text
    assert page.count("<tr>") == 1 + 5
    assert page.count("2 of 2, broken off") == 1
    assert page.count("on the line") == 2
    assert "1 other caller was on the line" in page
    assert "12 other callers were on the line" in page


async def test_only_the_owner_measures(panel: Panel) -> None:
    measuring = _measuring(panel, _WELL)
    async with stranger(panel) as nobody:
        for answer in (
            await nobody.post("/speed/measure", data=WISH), await nobody.post("/speed/stop")
        ):  # fmt: skip
            assert answer.status_code in (303, 401)
    assert not measuring.running
