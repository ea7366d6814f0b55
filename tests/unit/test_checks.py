"""The doctor sees each known problem, and a healthy box has none."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Literal

import psutil
import pytest
from typer.testing import CliRunner

from appliance import checks
from appliance.catalogue.fit import GIB, MIB
from appliance.checks import (
    clock,
    data_folder,
    disk_space,
    file_descriptors,
    gpu,
    livekit,
    media_address,
    memory,
    models,
    network,
    ports,
    programs,
    sealed_environment,
    services,
    socket_paths,
)
from appliance.checks.finding import Finding
from appliance.cli import build
from appliance.errors import ApplianceError
from appliance.gpu import Gpu, GpuReader
from appliance.settings import Settings
from appliance.status import BoxStatus, ProgramStatus
from tests import catalogues as make
from tests.fakes_nvml import RTX_4090, FakeNvml, loaded
from tests.panel_app import box_settings

pytestmark = pytest.mark.unit


@pytest.fixture
def settings(tmp_path: Path, free_port: Callable[[], int]) -> Settings:
    """A box of the test's own, with ports that nobody has."""
    made = make.settings(
        tmp_path, front={"http_port": free_port()}, agent={"health_port": free_port()},
        livekit={"port": free_port(), "tcp_port": free_port(), "udp_port": free_port()},
    )  # fmt: skip
    made.data_dir.mkdir(mode=0o700)
    return made


def test_every_check_is_listed_and_says_what_it_checks() -> None:
    files = {path.stem for path in Path(checks.__file__).parent.glob("*.py")}
    assert files - {"__init__", "finding"} == set(checks.NAMES)


def test_a_folder_of_one_s_own_is_healthy(settings: Settings) -> None:
    assert data_folder.look(settings).state == "ok"
    shutil.rmtree(settings.data_dir)
    assert data_folder.look(settings).state == "ok"


def test_a_folder_that_others_may_read_is_not(settings: Settings) -> None:
    settings.data_dir.chmod(0o750)
    found = data_folder.look(settings)
    assert found.state == "fail"
    assert "chmod 700" in found.hint


def test_a_folder_that_cannot_be_written_is_not(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root, who runs many a test, may write anywhere.
    monkeypatch.setattr(os, "access", lambda *_arguments: False)
    assert data_folder.look(settings).state == "fail"
    shutil.rmtree(settings.data_dir)
    assert data_folder.look(settings).state == "fail"


@pytest.mark.parametrize(("free_mb", "state"), [(100, "fail"), (1000, "warn"), (5000, "ok")])
def test_disk_space(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, free_mb: int, state: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free_mb * 10**6))
    assert disk_space.look(settings).state == state


@pytest.mark.parametrize(
    ("total", "free", "state"), [(500, 400, "fail"), (4000, 500, "warn"), (4000, 3000, "ok")]
)
def test_memory(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, total: int, free: int, state: str
) -> None:
    seen = SimpleNamespace(total=total * 2**20, available=free * 2**20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: seen)
    assert memory.look(settings).state == state


def test_a_clock_behind_its_own_files(settings: Settings) -> None:
    assert clock.look(settings).state == "ok"
    settings.settings_file.touch()
    os.utime(settings.settings_file, (4e9, 4e9))
    assert clock.look(settings).state == "fail"


@pytest.mark.parametrize(("limit", "state"), [(256, "fail"), (1024, "ok"), (65536, "ok")])
def test_file_descriptors(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, limit: int, state: str
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (limit, limit))
    assert file_descriptors.look(settings).state == state


def test_more_seats_need_more_files(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 1024))
    many = settings.model_copy(update={"agent": settings.agent.model_copy(update={"seats": 32})})
    assert file_descriptors.look(many).state == "warn"


def test_socket_paths(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert socket_paths.look(settings).state == "ok"
    long = settings.model_copy(update={"data_dir": Path("/" + "d" * 200)})
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/" + "r" * 100)
    assert socket_paths.look(long).state == "fail"


def test_a_machine_with_only_loopback_cannot_connect_calls(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback = SimpleNamespace(family=socket.AF_INET, address="127.0.0.1")
    address = SimpleNamespace(family=socket.AF_INET, address="10.99.0.1")
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"lo": [loopback], "veth": [address]})
    up = {"lo": SimpleNamespace(isup=True), "veth": SimpleNamespace(isup=False)}
    monkeypatch.setattr(psutil, "net_if_stats", lambda: up)
    found = network.look(settings)
    assert found.state == "fail"
    assert "ip link add" in found.hint
    up["veth"].isup = True
    assert network.look(settings) == Finding("ok", "Calls are offered 10.99.0.1.")


def test_a_port_of_somebody_else_s_is_named(settings: Settings) -> None:
    assert ports.look(settings).state == "ok"
    with socket.create_server(("127.0.0.1", settings.livekit.tcp_port)):
        with pytest.raises(ApplianceError, match=str(settings.livekit.tcp_port)):
            ports.look(settings)
        assert ports.numbers_held({os.getpid()}) >= {settings.livekit.tcp_port}


def test_missing_programs_are_named(settings: Settings) -> None:
    with pytest.raises(ApplianceError) as caught:
        programs.look(settings)
    assert "scripts/setup" in caught.value.hint


def test_missing_models_are_named(settings: Settings) -> None:
    with pytest.raises(ApplianceError) as caught:
        models.look(settings)
    assert "models pull" in caught.value.hint


def test_a_program_without_the_switches_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def program(**environment: str) -> SimpleNamespace:
        return SimpleNamespace(pid=7, name=lambda: "stt", environ=lambda: environment)

    sealed = program(**sealed_environment.SWITCHES)
    library = tmp_path / "seal.so"
    monkeypatch.setattr(sealed_environment, "SEAL_LIBRARY", library)
    monkeypatch.setattr(sealed_environment, "members", lambda _folder: [sealed])
    assert sealed_environment.look(settings).state == "warn"
    library.touch()
    assert sealed_environment.look(settings).state == "ok"
    monkeypatch.setattr(sealed_environment, "members", lambda _folder: [sealed, program()])
    found = sealed_environment.look(settings)
    assert found.state == "fail"
    assert "stt (7)" in found.message


@pytest.mark.parametrize(
    ("state", "expected"),
    [("ready", "ok"), ("stopped", "warn"), ("loading", "warn"), ("failed", "fail")],
)
def test_services(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, state: str, expected: str
) -> None:
    ready = state == "ready"

    async def status(_settings: Settings, *, memory: bool) -> BoxStatus:
        return BoxStatus(ready, (ProgramStatus("stt", state, ready, "why", 1, 0, 0),))

    monkeypatch.setattr(services, "box_status", status)
    assert services.look(settings).state == expected


def test_a_check_that_breaks_does_not_hide_the_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_settings: Settings) -> Finding:
        raise ZeroDivisionError("secret words")

    monkeypatch.setattr(clock, "look", broken)
    results = checks.run_checks(settings, ("clock", "socket_paths"))
    assert [result.finding.state for result in results] == ["fail", "ok"]
    assert "secret" not in results[0].finding.message


def test_the_command_exits_1_and_prints_one_object(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.settings.load_settings", lambda: settings)
    answer = CliRunner().invoke(build(), ["doctor", "--json"])
    said = json.loads(answer.stdout)
    assert answer.exit_code == 1
    assert said["ok"] is False
    assert [row["name"] for row in said["checks"]] == list(checks.NAMES)
    models_row = next(row for row in said["checks"] if row["name"] == "models")
    assert models_row["state"] == "fail"
    assert "models pull" in models_row["hint"]
    people = CliRunner().invoke(build(), ["doctor"])
    assert people.exit_code == 1
    assert "fail models" in people.stdout


@pytest.mark.parametrize(
    ("found", "device", "state", "told"),
    [
        (Gpu("absent", "No GPU here."), "auto", "ok", "CPU mode"),
        (Gpu("absent", "No GPU here."), "cuda", "fail", "stt.device asks for a GPU"),
        (Gpu("lost", "It dropped out.", "Restart."), "auto", "fail", "dropped out"),
        (
            Gpu("present", name="RTX 4090", driver="570.1", cuda="12.8", memory_total=24 << 30),
            "auto", "ok", "24,576 MB, driver 570.1",
        ),
    ],
)  # fmt: skip
def test_the_gpu_is_asked_once_and_its_answer_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch,
    found: Gpu, device: Literal["auto", "cuda"], state: str, told: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(GpuReader, "read", lambda _self: found)
    settings.stt.device = device
    said = gpu.look(settings)
    assert said.state == state
    assert told in said.message


@pytest.mark.parametrize(
    ("stt", "expected"),
    [("ready", "ok"), ("loading", "ok"), ("failed", "fail"), ("stopped", "fail")],
)
def test_a_card_that_the_box_fills_itself_is_well_and_one_that_others_fill_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stt: str, expected: str
) -> None:
    async def status(_settings: Settings, *, memory: bool) -> BoxStatus:
        return BoxStatus(False, (ProgramStatus("stt", stt, stt == "ready", "why", 1, 0, 0),))

    monkeypatch.setattr(gpu, "box_status", status)
    memory_info = {"total": 8 * GIB, "used": 8 * GIB - 450 * MIB, "free": 450 * MIB}
    with loaded(FakeNvml({**RTX_4090, "nvmlDeviceGetMemoryInfo": memory_info})):
        found = gpu.look(box_settings(tmp_path, gpu="required"))
    assert found.state == expected
    assert ("End what uses it" in found.hint) == (expected == "fail")


def _running(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
    for module in modules:
        monkeypatch.setattr(module, "members", lambda _run: [psutil.Process()])


def test_an_address_that_the_machine_has_lost_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _running(monkeypatch, media_address)
    settings.run_dir.mkdir(parents=True)
    rendered = settings.run_dir / "livekit.yaml"
    rendered.write_text('rtc:\n  node_ip: "127.0.0.1"\n')
    assert media_address.look(settings).state == "ok"
    rendered.write_text('rtc:\n  node_ip: "192.0.2.77"\n')
    found = media_address.look(settings)
    assert found.state == "fail"
    assert "192.0.2.77, which this machine no longer has" in found.message
    settings.livekit.node_ip = "192.0.2.77"
    assert media_address.look(settings).state == "warn"


def test_the_media_server_is_asked_and_its_port_tried(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert livekit.look(settings).state == "warn"
    _running(monkeypatch, livekit)
    assert "does not answer" in livekit.look(settings).message
    settings.run_dir.mkdir(parents=True)
    (settings.run_dir / "livekit.yaml").write_text('rtc:\n  node_ip: "127.0.0.1"\n')
    server = HTTPServer(("127.0.0.1", settings.livekit.port), BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        monkeypatch.setattr(BaseHTTPRequestHandler, "do_GET", _ok, raising=False)
        found = livekit.look(settings)
        assert (found.state, "no media comes to 127.0.0.1" in found.message) == ("fail", True)
        with socket.create_server(("127.0.0.1", settings.livekit.tcp_port)):
            assert livekit.look(settings).state == "ok"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _ok(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
