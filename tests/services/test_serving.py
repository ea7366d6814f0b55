"""A service's life as a process: its socket, a quick stop, a restart after a kill."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import threading
import time

import httpx
import pytest

from appliance.settings import PROJECT_DIR, sealed_environment
from tests.results import note
from tests.services.conftest import ServiceFactory
from tests.waiting import until

pytestmark = pytest.mark.services

STORY = {
    "messages": [{"role": "user", "content": "Tell me a very long story."}],
    "max_tokens": 2000,
    "temperature": 0,
}
RUNNING = 'earshot_requests_running{service="llm"}'


def test_a_busy_service_stops_within_two_seconds(service: ServiceFactory) -> None:
    llm = service("llm")
    answers: list[httpx.Response] = []

    def ask() -> None:
        transport = httpx.HTTPTransport(uds=str(llm.socket))
        with httpx.Client(transport=transport, base_url="http://llm", timeout=30) as client:
            answers.append(client.post("/v1/chat/completions", json=STORY))

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: llm.metric(RUNNING) == 1)
    began = time.monotonic()
    assert llm.stop() == 0
    note("busy llm stopped", seconds=round(time.monotonic() - began, 2))
    asking.join(30)
    assert [answer.status_code for answer in answers] == [503]
    assert answers[0].json()["error"]["code"] == "stopping"
    assert answers[0].headers["retry-after"]
    assert not llm.socket.exists()


def test_a_loading_service_stops_too(service: ServiceFactory) -> None:
    tts = service("tts", wait=False)
    until(tts.socket.exists)
    assert tts.stop() == 0
    assert not tts.socket.exists()


def test_a_killed_services_socket_is_taken_over_and_a_living_ones_is_not(
    service: ServiceFactory,
) -> None:
    tts = service("tts")
    assert stat.S_IMODE(tts.socket.stat().st_mode) == 0o600
    environment = {k: v for k, v in sealed_environment().items() if "APPLIANCE" not in k}
    environment["APPLIANCE_DATA_DIR"] = str(tts.socket.parent.parent)
    command = [sys.executable, "-m", "services.tts"]

    second = subprocess.run(
        command, cwd=PROJECT_DIR, env=environment, capture_output=True, timeout=30, check=False
    )
    assert second.returncode != 0
    assert b"already serves" in second.stdout + second.stderr
    assert tts.readiness()["ready"]

    tts.process.send_signal(signal.SIGKILL)
    tts.process.wait()
    assert tts.socket.exists()
    third = subprocess.Popen(command, cwd=PROJECT_DIR, env=environment, stdout=subprocess.DEVNULL)
    try:
        until(lambda: tts.readiness()["ready"], 45.0, "readiness")
    finally:
        third.terminate()
        assert third.wait(30) == 0
