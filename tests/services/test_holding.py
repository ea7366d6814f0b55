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
from appliance.errors import ApplianceError, NotReady
from appliance.holding import Wish
from appliance.rendering import Program, supervisord_conf, write_private
from appliance.settings import PROJECT_DIR, Settings
from appliance.status import BoxStatus, ProgramStatus
from appliance.supervision import (
    Record,
    members,
    read_records,
    records_path,
    records_text,
    supervisor_of,
    sweep,
)  # fmt: skip
from tests.fakes import SilentReport
from tests.fakes_nvml import loaded
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
    assert holder.wait(30) == 1
    assert not members(tmp_path / "run")


def test_a_killed_holder_takes_the_box_with_it(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    holder.kill()
    until(lambda: not members(tmp_path / "run"), what="the end of the box")


def test_a_killed_supervisord_ends_the_holder(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    (supervisord,) = (
        p for p in members(tmp_path / "run") if "supervisor.supervisord" in p.cmdline()
    )
    supervisord.kill()
    assert holder.wait(30) == 1
    assert not members(tmp_path / "run")


def test_down_from_elsewhere_ends_the_holder(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    assert starting.stop(Settings(data_dir=tmp_path))
    assert holder.wait(30) == 0


def test_a_lost_core_program_is_exit_code_70(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    record = Record(restarts=5, given_up="It ended 5 times.")
    write_private(records_path(tmp_path / "run"), records_text({"panel": record}))
    starting.stop(Settings(data_dir=tmp_path))
    assert holder.wait(30) == starting.CORE_LOST_EXIT


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


# ---- a box that nobody sits beside -----------------------------------------------------------


def fake_box(*programs: ProgramStatus) -> None:
    """After `fake_start`: the box is like this as soon as it runs."""

    async def box_status(settings: Settings, *, memory: bool = True) -> BoxStatus:
        running = len(members(settings.run_dir)) >= 3
        found = programs if running else (ProgramStatus("panel", "starting", False, "", 0, 0, 1),)
        return BoxStatus(all(one.ready for one in found), found)

    starting.box_status = box_status  # type: ignore[attr-defined]


class Ready(SilentReport):
    """Remembers what was said to be ready."""

    def __init__(self) -> None:
        super().__init__()
        self.box: BoxStatus | None = None

    def ready(self, box: BoxStatus) -> None:
        self.box = box


def status(name: str, state: str = "ready", why: str = "") -> ProgramStatus:
    return ProgramStatus(name, state, state == "ready", why, 1, 0, 1)


@pytest.fixture
def settings(tmp_path: Path, unfaked: None) -> Iterator[Settings]:
    fake_start()
    settings = Settings(data_dir=tmp_path)
    yield settings
    starting.stop(settings)


def test_a_patient_start_leaves_the_page_up_when_a_model_fails(settings: Settings) -> None:
    fake_box(status("panel"), status("llm", "loading"), status("stt", "failed", "No such file."))
    report = Ready()
    code = starting.start(settings, detach=True, report=report, wish=Wish(is_patient=True))
    assert code == NotReady.exit_code
    assert report.box
    assert not report.box.ready
    assert members(settings.run_dir)


def test_a_patient_start_fails_with_the_page(settings: Settings) -> None:
    fake_box(status("panel", "failed", "Its disk is full."), status("stt", "failed"))
    with pytest.raises(ApplianceError, match=r"panel could not be started: Its disk is full\."):
        starting.start(settings, detach=True, report=Ready(), wish=Wish(is_patient=True))
    assert not members(settings.run_dir)


def test_models_that_are_not_in_order_stop_a_start_unless_it_is_patient(settings: Settings) -> None:
    def broken(settings: Settings) -> None:
        raise ApplianceError("model_damaged", "The model whisper-base is damaged.")

    preflight.check_models = broken
    with pytest.raises(ApplianceError, match="whisper-base is damaged"):
        starting.start(settings, detach=True, report=Ready())
    report = Ready()
    starting.start(settings, detach=True, report=report, wish=Wish(is_patient=True))
    assert report.warnings == ["The model whisper-base is damaged."]


def test_without_the_gpu_that_is_required_no_model_is_started_and_it_is_said_why(
    settings: Settings,
) -> None:
    started = settings.data_dir / "started"
    source = settings.data_dir / "leaves_a_mark.py"
    source.write_text(
        f"import signal, sys\nopen({str(started)!r}, 'a').write(sys.argv[1] + '\\n')\nsignal.pause()\n"
    )
    names = ("stt", "llm", "tts", "panel")
    group = [Program(name, (sys.executable, str(source), name), 1) for name in names]

    def render(settings: Settings, held_back: Collection[str] = ()) -> None:
        text = supervisord_conf(settings, group, held_back)
        write_private(settings.run_dir / "supervisord.conf", text)

    starting.render = render  # type: ignore[attr-defined]
    fake_box(status("panel"), *(status(name, "given_up") for name in names[:3]))
    report = Ready()
    with loaded(None):
        starting.start(settings.model_copy(update={"gpu": "required"}), detach=True, report=report)
    (warning,) = report.warnings
    assert warning.startswith("This machine has no NVIDIA GPU.")
    until(started.exists, what="the panel's start")
    assert started.read_text() == "panel\n"
    records = read_records(settings.run_dir)
    assert {name for name, record in records.items() if record.given_up} == {"stt", "llm", "tts"}
    assert "no NVIDIA GPU" in records["stt"].given_up
    # The owner may try all the same.
    supervisor_of(settings).start("stt")
    until(lambda: "stt" in started.read_text(), what="the start that was asked for")
    until(lambda: not read_records(settings.run_dir)["stt"].given_up, what="the reason to be gone")


def test_what_is_lost_ends_the_box_with_70(settings: Settings) -> None:
    asked = iter(["", "", "The GPU was lost."])
    report = Ready()
    wish = Wish(lost=lambda: next(asked))
    code = starting.start(settings, detach=False, report=report, wish=wish)
    assert code == starting.CORE_LOST_EXIT
    assert report.warnings == ["The GPU was lost."]
    assert not members(settings.run_dir)
