"""Starts one service as a real child process, with its real model, in a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from appliance.settings import PROJECT_DIR, sealed_environment

READY_WITHIN_S = 45.0
STOPS_WITHIN_S = 45.0


@dataclass(frozen=True)
class ServiceHandle:
    """A running service."""

    socket: Path
    client: httpx.Client
    pid: int
    log: Path
    process: subprocess.Popen[bytes]

    def async_client(self) -> httpx.AsyncClient:
        """A client for tests that leave in the middle of an answer."""
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket))
        return httpx.AsyncClient(transport=transport, base_url="http://service", timeout=30)

    def metric(self, line: str) -> float:
        """Value of a metric's line, e.g. ``earshot_requests_running{service="llm"}``; 0 if absent."""
        for found in self.client.get("/metrics").text.splitlines():
            if found.startswith(line + " "):
                return float(found.rsplit(" ", 1)[1])
        return 0.0

    def readiness(self) -> dict[str, object]:
        """What /readyz says; loading while nothing answers yet."""
        try:
            answer: dict[str, object] = self.client.get("/readyz").json()
        except httpx.TransportError:
            return {"ready": False, "state": "loading", "why": ""}
        return answer

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOPS_WITHIN_S)


ServiceFactory = Callable[..., ServiceHandle]


def _start(name: str, data: Path, env: dict[str, str]) -> ServiceHandle:
    log = data / f"{name}.log"
    environment = {
        key: value for key, value in sealed_environment().items() if "APPLIANCE" not in key
    }
    environment |= {"APPLIANCE_DATA_DIR": str(data), **env}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", f"services.{name}"],
            cwd=PROJECT_DIR, env=environment, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    socket = data / "run" / f"{name}.sock"
    transport = httpx.HTTPTransport(uds=str(socket))
    client = httpx.Client(transport=transport, base_url="http://service", timeout=30)
    return ServiceHandle(socket, client, process.pid, log, process)


def _wait(handle: ServiceHandle, name: str, *, ready: bool) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while (answer := handle.readiness())["state"] == "loading":
        words = handle.log.read_text(errors="replace")
        assert handle.process.poll() is None, f"{name} ended early:\n{words}"
        assert time.monotonic() < deadline, f"{name} was not ready in time:\n{words}"
        time.sleep(0.05)
    assert not ready or answer["ready"], answer


def _group(pid: int) -> list[int]:
    """Living processes of the session that the service began."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.Error):
            continue
    return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceFactory]:
    """``service("tts", env={…}) -> ServiceHandle``; stopped, and checked, after the module.

    ``ready=False`` returns once loading has ended in any way.
    """
    started: list[tuple[str, ServiceHandle]] = []

    def start(
        name: str, *, env: dict[str, str] | None = None, ready: bool = True, wait: bool = True
    ) -> ServiceHandle:
        # Short: a unix socket's path holds 107 bytes.
        handle = _start(name, tmp_path_factory.mktemp("d"), env or {})
        started.append((name, handle))
        if wait:
            _wait(handle, name, ready=ready)
        return handle

    yield start
    for name, handle in started:
        handle.client.close()
        if handle.process.poll() is None:
            try:
                status = handle.stop()
            except subprocess.TimeoutExpired:
                os.killpg(handle.pid, signal.SIGKILL)
                handle.process.wait()
                raise
            assert status == 0, f"{name} exited with {status}"
        assert _group(handle.pid) == [], f"{name} left processes behind"
        assert not handle.socket.exists(), f"{name} left its socket behind"
