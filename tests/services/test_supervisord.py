"""A real supervisord with tiny programs: deaths, crash loops, stops, orphans."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from appliance import preflight, starting, status
from appliance.errors import NotFound, NotReady
from appliance.rendering import Program, supervisord_conf, write_private
from appliance.settings import Settings
from appliance.status import Answer
from appliance.supervision import Record, Supervisor, members, read_records, supervisor_of, sweep
from tests.waiting import until

pytestmark = pytest.mark.services

STAYS = "import signal\nsignal.pause()"
ENDS = "raise SystemExit(1)"
# Deaf to SIGTERM, and so is its child, in a session of its own.
DEAF = """
    import os, signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if not os.fork():
        os.setsid()
    while True:
        signal.pause()
"""


class TinyBox:
    """supervisord with programs of a few lines."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **sources: str) -> Supervisor:
        group = []
        for name, source in sources.items():
            path = self.settings.data_dir / f"{name}.py"
            path.write_text(textwrap.dedent(source))
            group.append(Program(name, (sys.executable, "-S", "-E", str(path)), 1))
        text = supervisord_conf(self.settings, group)
        # Without waiting five seconds before a program counts as running.
        text = text.replace("startsecs=5", "startsecs=0")
        write_private(self.settings.run_dir / "supervisord.conf", text)
        with starting._box_lock(self.settings) as lock:
            self.process = starting._spawn(self.settings, lock, tied=False)
        supervisor = supervisor_of(self.settings)
        until(lambda: self.answers(supervisor), what="supervisord answering")
        return supervisor

    @staticmethod
    def answers(supervisor: Supervisor) -> bool:
        try:
            return all(info.pid for info in supervisor.processes().values())
        except NotReady:
            return False

    def watch(self) -> psutil.Process | None:
        found = [p for p in members(self.settings.run_dir) if "appliance.watch" in p.cmdline()]
        return found[0] if found else None

    def records(self) -> dict[str, Record]:
        return read_records(self.settings.run_dir)


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[TinyBox]:
    settings = Settings(data_dir=tmp_path)
    preflight.prepare_folders(settings)
    box = TinyBox(settings)
    yield box
    sweep(settings.run_dir, grace_s=0)
    if box.process:
        box.process.wait()


def gone(box: TinyBox) -> bool:
    assert box.process
    box.process.poll()
    return not members(box.settings.run_dir)


def test_a_killed_program_comes_back_and_is_counted(tiny: TinyBox) -> None:
    supervisor = tiny.start(one=STAYS, other=STAYS)
    until(tiny.watch, what="the watch")
    before = supervisor.process("one").pid
    other = supervisor.process("other").pid
    psutil.Process(before).kill()
    until(lambda: supervisor.process("one").pid not in (0, before), what="a new process")
    until(lambda: tiny.records().get("one", Record()).restarts == 1, what="the count")
    assert supervisor.process("other").pid == other
    with pytest.raises(NotFound):
        supervisor.process("third")


def test_a_crash_loop_is_stopped_with_a_reason_and_can_be_started_again(tiny: TinyBox) -> None:
    supervisor = tiny.start(good=STAYS, bad=ENDS)
    until(lambda: supervisor.process("bad").state == "STOPPED", what="the stop")
    record = tiny.records()["bad"]
    assert "5 times" in record.given_up
    assert "logs bad" in record.given_up
    assert record.restarts >= 5  # it may have died once more before the stop reached it
    shown = status._state("bad", supervisor.process("bad"), record, Answer("silent"))
    assert shown == ("given_up", record.given_up)
    assert supervisor.process("good").state == "RUNNING"
    (tiny.settings.data_dir / "bad.py").write_text(STAYS)
    supervisor.restart("bad")
    until(lambda: not tiny.records()["bad"].given_up, what="the reason to be taken back")
    assert supervisor.process("bad").state == "RUNNING"


def test_a_stop_leaves_nothing_not_even_the_deaf(tiny: TinyBox) -> None:
    tiny.start(one=STAYS, deaf=DEAF)
    # supervisord, the watch, one, deaf and its child
    until(lambda: len(members(tiny.settings.run_dir)) == 5, what="all five processes")
    tiny.settings.agent.drain_s = 1
    assert starting.stop(tiny.settings)
    assert not members(tiny.settings.run_dir)
    assert not starting.stop(tiny.settings)


def test_when_supervisord_is_killed_the_watch_sweeps(tiny: TinyBox) -> None:
    tiny.start(one=STAYS, deaf=DEAF)
    until(tiny.watch, what="the watch")
    until(lambda: tiny.records() is not None and _listening(tiny), what="the watch listening")
    assert tiny.process
    tiny.process.kill()
    until(lambda: gone(tiny), what="the sweep")
    assert "supervisord_died" in (tiny.settings.data_dir / "logs" / "watch.log").read_text()


def _listening(tiny: TinyBox) -> bool:
    """Whether the watch has taken its first event."""
    return "one" in tiny.records()


def test_when_both_are_killed_the_next_stop_sweeps(tiny: TinyBox) -> None:
    tiny.start(one=STAYS, deaf=DEAF)
    until(tiny.watch, what="the watch")
    assert tiny.process
    watch = tiny.watch()
    assert watch
    watch.kill()
    tiny.process.kill()
    tiny.process.wait()
    assert starting.stop(tiny.settings)
    assert not members(tiny.settings.run_dir)


def test_a_killed_watch_is_harmless_and_remembers(tiny: TinyBox) -> None:
    supervisor = tiny.start(one=STAYS)
    until(tiny.watch, what="the watch")
    one = supervisor.process("one")
    psutil.Process(one.pid).kill()
    until(lambda: tiny.records().get("one", Record()).restarts == 1, what="the first count")
    watch = tiny.watch()
    assert watch
    watch.kill()
    until(lambda: (new := tiny.watch()) and new.pid != watch.pid, what="another watch")
    until(lambda: supervisor.process("one").pid not in (0, one.pid), what="the program")
    psutil.Process(supervisor.process("one").pid).kill()
    until(lambda: tiny.records()["one"].restarts == 2, what="the second count")


def test_only_one_box_per_folder_as_long_as_supervisord_lives(tiny: TinyBox) -> None:
    tiny.start(one=STAYS)
    with pytest.raises(starting.AlreadyRunning), starting._box_lock(tiny.settings):
        pass
    assert tiny.process
    tiny.settings.agent.drain_s = 1
    starting.stop(tiny.settings)
    tiny.process.wait()
    with starting._box_lock(tiny.settings):
        pass
