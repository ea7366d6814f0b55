"""What the watch counts and when it gives up; what a program's state is called."""

from __future__ import annotations

import asyncio
import http.server
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from appliance import starting, status, supervision
from appliance.errors import NotReady
from appliance.holding import Signals
from appliance.settings import Settings
from appliance.status import Answer
from appliance.supervision import (
    MARK,
    ProcessInfo,
    Record,
    Supervisor,
    read_records,
    supervisor_of,
)
from appliance.watch import Event, Watch, read_event
from tests.waiting import until

pytestmark = pytest.mark.unit


class FakeSupervisor(Supervisor):
    """Remembers what it was asked to stop."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"))
        self.stopped: list[str] = []

    def stop(self, name: str, *, deadline_s: float = 30.0) -> None:
        self.stopped.append(name)

    def shutdown(self) -> None:
        self.stopped.append("everything")


def test_without_supervisord_the_status_is_stopped(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    settings = Settings(
        data_dir=tmp_path, front={"http_port": free_port()}, livekit={"port": free_port()}
    )
    box = asyncio.run(status.box_status(settings))
    assert not box.ready
    assert {program.state for program in box.programs} == {"stopped"}
    with pytest.raises(NotReady):
        supervisor_of(settings).processes()


class _Friendly(http.server.BaseHTTPRequestHandler):
    """Another program that answers everything with 200."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_another_program_on_our_port_is_not_ours(
    tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Friendly) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = Settings(
            data_dir=tmp_path,
            livekit={"port": server.server_port},
            front={"http_port": free_port()},
        )
        found = asyncio.run(status.box_status(settings)).programs
        assert {program.state for program in found} == {"stopped"}
        # Our own, which lives on for a moment after its supervisord was killed.
        livekit = str(settings.programs_dir / "livekit-server")
        monkeypatch.setattr(status, "_paths_of_ours", lambda _settings: {livekit})
        found = asyncio.run(status.box_status(settings)).programs
        assert [program.name for program in found if program.ready] == ["livekit"]
        server.shutdown()


def test_what_runs_is_known_by_the_mark_of_its_box(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert status._paths_of_ours(settings) == set()
    environment = {MARK: str(settings.run_dir)}
    with subprocess.Popen(["/bin/sleep", "60"], env=environment) as child:
        try:
            # For a moment after its start a program shows the kernel no environment yet.
            until(lambda: status._paths_of_ours(settings) == {"/bin/sleep"}, what="its mark")
        finally:
            child.kill()


def _event(name: str, from_state: str = "RUNNING", program: str = "stt") -> Event:
    return Event(f"PROCESS_STATE_{name}", program, "earshot", from_state)


def test_deaths_far_apart_are_no_loop(tmp_path: Path) -> None:
    supervisor = FakeSupervisor()
    watch = Watch(tmp_path, supervisor)
    for number in range(20):
        watch.take(_event("EXITED"), now_s=number * 15.0)
    assert supervisor.stopped == []
    assert read_records(tmp_path)["stt"].restarts == 20


def test_a_lost_core_program_stops_the_box(tmp_path: Path) -> None:
    supervisor = FakeSupervisor()
    watch = Watch(tmp_path, supervisor)
    for number in range(5):
        watch.take(_event("BACKOFF", "STARTING", "front"), now_s=float(number))
    assert supervisor.stopped == ["everything"]
    assert read_records(tmp_path)["front"].given_up


def test_a_program_that_supervisord_gave_up_has_a_reason(tmp_path: Path) -> None:
    watch = Watch(tmp_path, FakeSupervisor())
    watch.take(_event("FATAL", "BACKOFF"), now_s=1.0)
    assert "every start" in read_records(tmp_path)["stt"].given_up


def test_a_damaged_record_is_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "supervision.json").write_text('{"programs": {"stt": {"nonsense": 1}}}')
    assert read_records(tmp_path) == {}


@pytest.mark.parametrize("clean", [False, True])
def test_the_listeners_protocol(tmp_path: Path, clean: bool) -> None:
    payload = f"processname:stt groupname:earshot from_state:RUNNING expected:{clean:d} pid:7"
    header = f"ver:3.0 server:earshot serial:1 pool:watch poolserial:1 eventname:PROCESS_STATE_EXITED len:{len(payload)}\n"
    path = tmp_path / "events"
    path.write_text(header + payload)
    with path.open() as source:
        assert read_event(source) == replace(_event("EXITED"), clean=clean)
        assert read_event(source) is None


@pytest.mark.parametrize(
    ("process", "answer", "expected"),
    [
        ("RUNNING", Answer("ready"), "ready"),
        ("RUNNING", Answer("loading", "reading the model"), "loading"),
        ("RUNNING", Answer("failed", "the file is damaged"), "failed"),
        ("RUNNING", Answer("silent"), "silent"),
        ("STARTING", Answer("silent"), "starting"),
        ("BACKOFF", Answer("silent"), "restarting"),
        ("FATAL", Answer("silent"), "given_up"),
        ("STOPPED", Answer("silent"), "stopped"),
    ],
)
def test_states(process: str, answer: Answer, expected: str) -> None:
    info = ProcessInfo("stt", process, 7, 90 if process == "RUNNING" else 1, "")
    state, why = status._state("stt", info, Record(), answer)
    assert state == expected
    assert (why == "") == (state == "ready")


class Stuck(psutil.Process):
    """A process that no signal reaches; remembers what it was sent."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.sent: list[str] = []

    def terminate(self) -> None:
        self.sent.append("SIGTERM")

    def kill(self) -> None:
        self.sent.append("SIGKILL")


def test_a_process_that_hangs_in_the_kernel_holds_no_stop_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, list[int]]] = []
    monkeypatch.setattr(
        "appliance.supervision.log.error", lambda event, pids: told.append((event, pids))
    )
    monkeypatch.setattr(supervision, "_GONE_WITHIN_S", 0.5)
    with subprocess.Popen(["/bin/sleep", "60"]) as child:
        try:
            stuck = Stuck(child.pid)
            monkeypatch.setattr(supervision, "members", lambda _run_dir: [stuck])
            assert supervision.sweep(tmp_path, grace_s=0.1) == 1
        finally:
            child.kill()
    assert (stuck.sent[0], stuck.sent[-1]) == ("SIGTERM", "SIGKILL")
    assert told == [("not_ended", [child.pid])]


def test_a_supervisord_that_hangs_in_the_kernel_holds_no_stop_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[int]] = []
    monkeypatch.setattr("appliance.starting.log.error", lambda _event, pids: told.append(pids))
    monkeypatch.setattr(starting, "_SUPERVISOR_GONE_WITHIN_S", 0.1)
    monkeypatch.setattr(starting, "_stop_members", lambda *_, **__: None)
    with subprocess.Popen(["/bin/sleep", "60"]) as child:
        try:
            starting._end(Settings(data_dir=tmp_path), child, Signals())
        finally:
            child.kill()
    assert told == [[child.pid]]
