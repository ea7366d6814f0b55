"""A signal is taken at whatever moment it comes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from fastapi import APIRouter

from appliance.holding import Signals
from appliance.serving import create_app, server
from appliance.serving.server import bind
from appliance.settings import PROJECT_DIR, Settings
from tests.fakes import FakeEngine

pytestmark = pytest.mark.unit

# So many that some come while the wait itself holds what it waits with.
STORM = """
    import signal
    from appliance.holding import Signals

    signals = Signals()
    signal.signal(signal.SIGALRM, signals._take)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    while signals.count < 3000:
        signals.wait(0.001)
    signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_no_signal_hangs_whoever_waits_for_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(STORM)],
        cwd=PROJECT_DIR, capture_output=True, text=True, check=False, timeout=40,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]


def test_a_signal_ends_the_wait_and_the_second_hurries() -> None:
    signals = Signals()
    with signals.caught():
        signals.wait(0.0)
        assert signals.count == 0
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
            signal.raise_signal(number)
            # Far longer than the test may take.
            signals.wait(3600)
            assert signals.asked
            assert signals.forced == (number == signal.SIGTERM)


def test_a_service_told_to_stop_while_it_begins_leaves_no_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.sock"

    def bind_and_be_stopped(path: Path) -> socket.socket:
        listener = bind(path)
        signal.raise_signal(signal.SIGTERM)
        return listener

    monkeypatch.setattr(server, "bind", bind_and_be_stopped)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.serve(create_app(FakeEngine(), APIRouter(), Settings()), path)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert not path.exists()
