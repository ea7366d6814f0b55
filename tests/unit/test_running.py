"""The box that runs is found whatever the settings have become."""

from __future__ import annotations

import asyncio
import http.server
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance import status
from appliance.running import as_started, keep_start
from appliance.settings import Settings
from appliance.status import ProgramStatus
from appliance.supervision import ProcessInfo, Record
from tests.fakes import member_of

pytestmark = pytest.mark.unit


def _settings(data: Path, **ports: int) -> Settings:
    (data / "run").mkdir(exist_ok=True)
    return Settings(
        data_dir=data, front={"http_port": ports["front"]}, livekit={"port": ports["livekit"]}
    )


def test_the_ports_of_the_running_box_are_kept_and_no_others(tmp_path: Path) -> None:
    started, now = (_settings(tmp_path, front=port, livekit=port + 1) for port in (9001, 9101))
    assert as_started(now) == now
    with member_of(started.run_dir) as pid:
        keep_start(started, pid)
        assert as_started(now) == started
        assert (started.run_dir / "box.json").stat().st_mode & 0o777 == 0o600
    assert as_started(now) == now


def test_whether_and_where_its_door_is_open_is_kept(tmp_path: Path) -> None:
    now = _settings(tmp_path, front=9001, livekit=9002)
    opened = now.front.model_copy(update={"lan": True, "https_port": 9443})
    started = now.model_copy(update={"front": opened})
    with member_of(started.run_dir) as pid:
        keep_start(started, pid)
        assert as_started(now).front == opened
        keep_start(now, pid)
        assert as_started(started).front.lan is False


def test_a_process_that_got_its_number_is_not_the_box(tmp_path: Path) -> None:
    started, now = (_settings(tmp_path, front=port, livekit=port + 1) for port in (9001, 9101))
    with member_of(tmp_path / "another") as pid:
        keep_start(started, pid)
        assert as_started(now) == now


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"supervisor": "x"}', '{"supervisor": -1}'])
def test_a_damaged_record_is_none(tmp_path: Path, text: str) -> None:
    now = _settings(tmp_path, front=9001, livekit=9002)
    (now.run_dir / "box.json").write_text(text)
    assert as_started(now) == now


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_the_status_asks_where_the_box_was_started(
    tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def supervision(_settings: Settings) -> tuple[dict[str, ProcessInfo], dict[str, Record]]:
        return {"livekit": ProcessInfo("livekit", "RUNNING", os.getpid(), 90, "")}, {}

    def media_server(settings: Settings) -> ProgramStatus:
        programs = asyncio.run(status.box_status(settings, memory=False)).programs
        return next(program for program in programs if program.name == "livekit")

    monkeypatch.setattr(status, "_supervision", supervision)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started = _settings(tmp_path, front=free_port(), livekit=server.server_port)
        now = _settings(tmp_path, front=free_port(), livekit=free_port())
        assert media_server(now).state == "silent"
        with member_of(started.run_dir) as pid:
            keep_start(started, pid)
            assert media_server(now).ready
        server.shutdown()
