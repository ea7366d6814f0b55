"""Holding a box and stopping it, with a tiny program in the place of the seven."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from appliance import preflight, starting
from appliance.errors import ApplianceError
from appliance.rendering import Program, supervisord_conf, write_private
from appliance.settings import PROJECT_DIR, Settings
from appliance.status import BoxStatus, ProgramStatus
from appliance.supervision import Record, members, records_path, records_text, sweep
from tests.fakes import SilentReport
from tests.waiting import until

pytestmark = pytest.mark.services

# `start` as a program of its own, because signals and parents are its subject.
HOLDER = """
    import sys
    from pathlib import Path
    from appliance import starting
    from appliance.settings import Settings
    from tests.fakes import SilentReport
    from tests.services.test_holding import fake_start

    fake_start()
    settings = Settings(data_dir=Path(sys.argv[1]))
    report = SilentReport()
    report.ready = lambda _box: print("ready", flush=True)

    def closed():
        raise OSError("the terminal is gone")

    report.stopping = closed
    sys.exit(starting.start(settings, detach=False, report=report))
"""
PROGRAM = "import signal\nsignal.pause()\n"


def fake_start(ready: bool = True) -> None:
    """Let `start` run one tiny program and believe that it is ready."""

    def render(settings: Settings, held_back: Collection[str] = ()) -> None:
        source = settings.data_dir / "tiny.py"
        source.write_text(PROGRAM)
        group = [Program("tiny", (sys.executable, str(source)), 1)]
        text = supervisord_conf(settings, group, held_back)
        write_private(settings.run_dir / "supervisord.conf", text)

    async def box_status(settings: Settings, *, memory: bool = True) -> BoxStatus:
        running = len(members(settings.run_dir)) >= 3  # supervisord, the watch and the program
        state = "ready" if running and ready else "failed" if running else "starting"
        one = ProgramStatus("tiny", state, state == "ready", "It has its reasons.", 1, 0, 1)
        return BoxStatus(one.ready, (one,))

    starting.render = render  # type: ignore[attr-defined]
    starting.box_status = box_status  # type: ignore[attr-defined]
    preflight.check = lambda settings: []
    preflight.check_models = lambda settings: None


@pytest.fixture
def unfaked() -> Iterator[None]:
    kept = starting.render, starting.box_status  # type: ignore[attr-defined]
    checks = preflight.check, preflight.check_models
    yield
    starting.render, starting.box_status = kept  # type: ignore[attr-defined]
    preflight.check, preflight.check_models = checks


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path)],
        cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()
        sweep(tmp_path / "run", grace_s=0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything(
    tmp_path: Path, holder: subprocess.Popen[str], number: signal.Signals
) -> None:
    assert len(members(tmp_path / "run")) >= 3
    holder.send_signal(number)
    # 1, not 0: the report of this holder cannot speak, as in a terminal that was closed.
    assert holder.wait(20) == 1
    assert not members(tmp_path / "run")


def test_a_killed_holder_takes_the_box_with_it(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    holder.kill()
    until(lambda: not members(tmp_path / "run"), 20, "the end of the box")


def test_a_killed_supervisord_ends_the_holder(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    (supervisord,) = (
        p for p in members(tmp_path / "run") if "supervisor.supervisord" in p.cmdline()
    )
    supervisord.kill()
    assert holder.wait(20) == 1
    assert not members(tmp_path / "run")


def test_down_from_elsewhere_ends_the_holder(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    assert starting.stop(Settings(data_dir=tmp_path))
    assert holder.wait(20) == 0


def test_a_lost_core_program_is_exit_code_70(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    record = Record(restarts=5, given_up="It ended 5 times.")
    write_private(records_path(tmp_path / "run"), records_text({"panel": record}))
    starting.stop(Settings(data_dir=tmp_path))
    assert holder.wait(20) == starting.CORE_LOST_EXIT


@pytest.mark.usefixtures("unfaked")
def test_a_program_that_fails_while_starting_takes_all_down_again(tmp_path: Path) -> None:
    fake_start(ready=False)
    settings = Settings(data_dir=tmp_path)
    with pytest.raises(ApplianceError, match=r"tiny could not be started: It has its reasons\."):
        starting.start(settings, detach=True, report=SilentReport())
    assert not members(settings.run_dir)


@pytest.mark.usefixtures("unfaked")
def test_a_detached_box_outlives_its_start_and_refuses_a_second(tmp_path: Path) -> None:
    fake_start()
    settings = Settings(data_dir=tmp_path)
    try:
        assert starting.start(settings, detach=True, report=SilentReport()) == 0
        assert members(settings.run_dir)
        with pytest.raises(starting.AlreadyRunning, match="already running at http://localhost"):
            starting.start(settings, detach=True, report=SilentReport())
        others = Settings(data_dir=tmp_path, front={"http_port": 9292})
        with pytest.raises(starting.AlreadyRunning, match=r"localhost:8080\. .*other settings"):
            starting.start(others, detach=True, report=SilentReport())
        assert members(settings.run_dir)
    finally:
        assert starting.stop(settings)
