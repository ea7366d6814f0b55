"""Whoever stops the box asks the panel until no call is open."""

from __future__ import annotations

import http.server
import socketserver
import threading
from pathlib import Path

import pytest

from appliance import farewell
from appliance.preflight import prepare_folders
from appliance.secrets import local_token
from appliance.settings import Settings

pytestmark = pytest.mark.unit


def asked(tmp_path: Path, answers: list[tuple[int, bytes]]) -> int:
    """How often a panel that answers so is asked."""
    settings = Settings(data_dir=tmp_path)
    prepare_folders(settings)
    local_token(settings)
    left = iter(answers)
    times = []

    class Panel(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            times.append(self.path)
            status, said = next(left)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with socketserver.UnixStreamServer(str(settings.socket("panel")), Panel) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        farewell.bid_farewell(settings, lambda: False)
        server.shutdown()
    return len(times)


def test_a_panel_that_cannot_see_its_calls_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(farewell, "_EVERY_S", 0.0)
    answers = [
        (503, b'{"error": {"code": "store_busy"}}'), (500, b"Internal Server Error"),
        (200, b'{"open": 2}'), (200, b'{"open": 0}'),
    ]  # fmt: skip
    assert asked(tmp_path, answers) == len(answers)


def test_nonsense_from_its_socket_holds_no_stop_up(tmp_path: Path) -> None:
    assert asked(tmp_path, [(200, b"nonsense")]) == 1
