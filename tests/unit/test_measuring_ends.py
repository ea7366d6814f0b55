"""How a measurement ends: broken off, without answers, on a full disk, beside another one."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import typer
from typer.testing import CliRunner

from appliance.cli import bench
from appliance.errors import ApplianceError, BadInput, NotReady
from appliance.headset import Clip
from appliance.measuring import results
from appliance.measuring.figures import OVER_TOO_SOON, SPOKE_ON, Turn
from appliance.measuring.run import Result, Task, measure
from appliance.measuring.sides import Side
from appliance.settings import PROJECT_DIR, Settings
from tests.unit.test_measuring_calls import FakeCaller, _side, _task, _watch

pytestmark = pytest.mark.unit

WAIT_S = 30.0


class Halting(FakeCaller):
    """Its third question has no end."""

    async def ask(self, clip: Clip, *args: Any, **named: Any) -> Any:
        if self.questions == 2:
            await asyncio.Event().wait()
        self.questions += 1
        return await super().ask(clip, *args, **named)

    def __init__(self) -> None:
        super().__init__()
        self.questions = 0


def _fresh(kind: type[FakeCaller] = FakeCaller) -> Any:
    return type("Fresh", (kind,), {"fails_at": set()})


def halting_box(box: pytest.MonkeyPatch) -> None:
    """Instead of a box: callers who are answered twice."""
    _box(box, _side("ours", _fresh(Halting)))


def answering_box(box: pytest.MonkeyPatch) -> None:
    """Instead of a box: callers who are always answered."""
    _box(box, _side("ours", _fresh()))


def _box(box: pytest.MonkeyPatch, side: Side) -> None:
    async def seats(*_: Any) -> None:
        """There are always enough."""

    box.setattr("appliance.measuring.sides.check_seats", seats)
    box.setattr("appliance.measuring.sides.ours", lambda *_: side)
    box.setattr("appliance.measuring.sides.models_of", lambda _: {})


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`appliance bench` on a box that answers at once."""
    monkeypatch.setenv("APPLIANCE_DATA_DIR", str(tmp_path / "data"))
    _box(monkeypatch, _side("ours", _fresh()))
    app = typer.Typer()
    bench.register(app)
    return lambda *options: CliRunner().invoke(app, options)


async def test_what_was_measured_is_kept_where_the_rest_is_broken_off() -> None:
    whole = await _broken_off(_task(turns=4), 2, _side("ours", _fresh(Halting)))
    assert whole["broken_off"] is True
    assert [turn["ms"]["at_ear"] for turn in whole["turns"]] == [700, 700]
    assert whole["ours"]["questions"]["answered"] == 2


class Slower(FakeCaller):
    """Its last call is answered later, and only once."""

    last: ClassVar[int] = 1

    async def ask(self, clip: Clip, *args: Any, **named: Any) -> Any:
        self.questions += 1
        if self.number == self.last and self.questions == 2:
            await asyncio.Event().wait()
        report = await super().ask(clip, *args, **named)
        if self.number == self.last:
            report.ms["at_ear"] = 1400
        return report

    def __init__(self) -> None:
        super().__init__()
        self.questions = 0


async def _broken_off(task: Task, done: int, *sides: Side) -> dict[str, Any]:
    """What is kept of a measurement that is cancelled once so many are done."""
    kept: list[Result] = []
    reached = asyncio.Event()
    work = measure(
        task, sides, _watch(),
        lambda now, _all: reached.set() if now == done else None, kept.append,
    )  # fmt: skip
    measuring = asyncio.create_task(work)
    async with asyncio.timeout(WAIT_S):
        await reached.wait()
        measuring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await measuring
    (result,) = kept
    return result.as_json()


async def test_sides_are_compared_in_the_rounds_that_both_finished() -> None:
    # Round 1: ours, stock; round 2: stock, then ours, whose second answer never comes.
    whole = await _broken_off(
        _task(turns=4, per_call=2), 7, _side("ours", _fresh(Slower)), _side("stock", _fresh())
    )
    assert whole["ours"]["at_ear_ms"]["max"] == 1400
    assert whole["ratio"] == {"at_ear_p50": 1.0, "at_ear_p90": 1.0}


async def test_sides_that_finished_no_round_together_are_not_compared() -> None:
    stock = _fresh(Slower)
    stock.last = 0
    whole = await _broken_off(
        _task(turns=4, per_call=2), 3, _side("ours", _fresh()), _side("stock", stock)
    )
    assert whole["stock"]["questions"]["answered"] == 1
    assert whole["ratio"] == {}


_MEASURING = """
import os, sys
import pytest
from appliance import cli
from tests.unit.test_measuring_ends import halting_box

halting_box(pytest.MonkeyPatch())
sys.argv[1:] = ["bench", "--turns", "4"]
os._exit(cli.main())
"""


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"]
)
def test_a_measurement_that_is_interrupted_leaves_its_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals, code: int
) -> None:
    monkeypatch.setenv("APPLIANCE_DATA_DIR", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", _MEASURING], cwd=PROJECT_DIR, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        lines = iter(running.stderr.readline, "")
        said = [next(lines), next(lines)]
        running.send_signal(sent)
        said += lines
        assert running.wait(WAIT_S) == code, said
    folder = results.folder_of(Settings(data_dir=tmp_path))
    (name,) = results.names(folder)
    found = results.read(folder, name)
    assert (found["broken_off"], len(found["turns"])) == (True, 2)
    assert said[2:] == [
        f"The measurement broke off. What was measured is in {folder / name}.json\n"
    ]


def test_a_measurement_goes_on_when_nobody_reads_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_DATA_DIR", str(tmp_path))
    measuring = _MEASURING.replace("halting_box", "answering_box")
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", measuring], cwd=PROJECT_DIR, stdout=subprocess.PIPE,
            stderr=writer, timeout=2 * WAIT_S, check=False,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert done.returncode == 0, done.stdout
    folder = results.folder_of(Settings(data_dir=tmp_path))
    (name,) = results.names(folder)
    found = results.read(folder, name)
    assert (found["broken_off"], len(found["turns"])) == (False, 4)


async def test_a_round_without_an_answer_ends_the_measurement() -> None:
    caller, kept, told = _fresh(), list[Result](), list[int]()
    caller.fails_at = {1}
    with pytest.raises(
        ApplianceError, match=r"In round 2 \(ours\) .* All seats are taken"
    ) as ended:
        await measure(
            _task(turns=6, per_call=2), [_side("ours", caller)], _watch(),
            lambda done, _all: told.append(done), kept.append,
        )  # fmt: skip
    assert ended.value.code == "round_unanswered"
    assert told[-1] == 4
    assert [(one.broken_off, len(one.turns)) for one in kept] == [(True, 4)]


async def test_a_last_round_without_an_answer_is_a_result_like_any_other() -> None:
    caller = _fresh()
    caller.fails_at = {1}
    result = await measure(_task(turns=3, per_call=2), [_side("ours", caller)], _watch())
    assert result.sides["ours"]["questions"] == {"asked": 3, "answered": 2, "cut_into": 0}
    assert not result.broken_off


@pytest.mark.parametrize(
    ("more", "is_answered"),
    [
        ({}, True), ({"early": True}, True), ({"why": SPOKE_ON}, True), ({"why": OVER_TOO_SOON}, True),
        ({"why": "No answer was heard."}, False),
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_timed_is_one(more: dict[str, Any], *, is_answered: bool) -> None:
    assert Turn("ours", 0, 0, "barge_in", "story", **more).answered is is_answered


async def test_callers_who_came_in_meanwhile_are_told_with_the_result(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[set[str]] = []

    async def others(own: Collection[str]) -> int:
        asked.append(set(own))
        return 2 if len(asked) == 1 else 0

    side = replace(_side("ours", _fresh()), others=others)
    whole = (await measure(_task(turns=2, per_call=1), [side], _watch())).as_json()
    # A call that has just ended may still be on the box's list.
    assert asked == [{"s0"}, {"s0", "s1"}]
    assert whole["callers_beside"] == 2
    bench._show(whole)
    assert "up to 2 other callers were on the line" in capsys.readouterr().out


async def test_a_measurement_alone_on_the_line_says_so() -> None:
    whole = (await measure(_task(turns=1), [_side("ours", _fresh())], _watch())).as_json()
    assert (whole["callers_beside"], whole["broken_off"]) == (0, False)


async def test_an_answer_counts_though_the_store_is_busy() -> None:
    def busy(*_: Any) -> None:
        raise NotReady("store_busy", "The database is busy.")

    side = replace(_side("ours", _fresh()), heard=busy)
    result = await measure(_task(turns=2), [side], _watch())
    assert [turn.why for turn in result.turns] == ["", ""]


def test_two_measurements_at_once_are_refused(tmp_path: Path, command: Callable[..., Any]) -> None:
    with results.alone(Settings(data_dir=tmp_path / "data")):
        second = command("--turns", "1", "--out", str(tmp_path / "out"))
    assert isinstance(second.exception, NotReady)
    assert second.exception.exit_code == 3
    assert "already" in str(second.exception)
    assert command("--turns", "1").exit_code == 0


def test_figures_that_cannot_be_written_are_printed(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(results, "write_whole", full)
    as_json = command("--turns", "1", "--json")
    (line,) = [line for line in as_json.stdout.splitlines() if line.startswith("{")]
    assert json.loads(line)["file"] is None
    assert "700" in command("--turns", "1").stdout
    assert isinstance(as_json.exception, ApplianceError)
    assert as_json.exception.exit_code == 1
    assert "could not be written" in str(as_json.exception)
    assert results.names(tmp_path / "data" / "measurements") == []


def test_a_folder_without_room_is_told_before_the_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    # As on a disk without blocks, where a file can be made and nothing be written to it.
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BadInput, match="cannot be written"):
        results.writable(tmp_path)
    assert list(tmp_path.iterdir()) == []
