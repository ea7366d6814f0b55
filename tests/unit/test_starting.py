"""What keeps the box from starting: one sentence, an exit code, nothing left running."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from appliance import preflight, starting
from appliance.errors import ApplianceError, BadSettings
from appliance.settings import PROJECT_DIR, Settings, load_settings
from appliance.supervision import members
from tests.fakes import SilentReport

pytestmark = pytest.mark.unit

PORTS = ("FRONT__HTTP_PORT", "LIVEKIT__PORT", "LIVEKIT__TCP_PORT", "LIVEKIT__UDP_PORT", "AGENT__HEALTH_PORT")  # fmt: skip


class Machine:
    """A data folder and ports of its own, told to the settings by the environment."""

    def __init__(
        self, folder: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.data = folder / "data"
        self._set = monkeypatch.setenv
        self.ports = {name: free_port() for name in PORTS}
        self._set("APPLIANCE_DATA_DIR", str(self.data))
        for name, port in self.ports.items():
            self._set(f"APPLIANCE_{name}", str(port))

    def refused(self, **extra: str) -> tuple[int, str]:
        """Exit code and sentence of a start that must fail."""
        for name, value in extra.items():
            self._set(name, value)
        with pytest.raises(ApplianceError) as raised:
            starting.start(load_settings(), detach=True, report=SilentReport())
        assert not members(self.data / "run")
        return raised.value.exit_code, str(raised.value)

    def command(self, *arguments: str) -> tuple[int, str]:
        """Exit code and stderr of the command."""
        done = subprocess.run(
            [sys.executable, "-m", "appliance.cli", *arguments],
            cwd=PROJECT_DIR, capture_output=True, text=True, timeout=50, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert not members(self.data / "run")
        return done.returncode, done.stderr.strip()


@pytest.fixture
def machine(
    tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> Machine:
    return Machine(tmp_path, free_port, monkeypatch)


def one_sentence(said: str) -> bool:
    return bool(said) and "\n" not in said


@pytest.mark.parametrize(
    ("name", "kind", "address"),
    [
        ("FRONT__HTTP_PORT", socket.SOCK_STREAM, "127.0.0.1"),
        ("LIVEKIT__TCP_PORT", socket.SOCK_STREAM, "127.0.0.1"),
        ("LIVEKIT__UDP_PORT", socket.SOCK_DGRAM, "127.0.0.1"),
    ],
)
def test_a_port_in_use_is_named_with_its_owner_and_its_setting(
    machine: Machine, name: str, kind: socket.SocketKind, address: str
) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind((address, machine.ports[name]))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        code, said = machine.refused()
    assert code == 2
    assert one_sentence(said)
    assert str(machine.ports[name]) in said
    assert f"process {os.getpid()}" in said
    assert f"APPLIANCE_{name}" in said


def test_two_settings_with_one_port(machine: Machine) -> None:
    shared = machine.ports["LIVEKIT__PORT"]
    code, said = machine.refused(APPLIANCE_AGENT__HEALTH_PORT=str(shared))
    assert code == 2
    assert "livekit.port" in said
    assert "agent.health_port" in said


def test_a_data_folder_that_is_none(machine: Machine) -> None:
    machine.data.write_text("a file")
    code, said = machine.refused()
    assert code == 2
    assert one_sentence(said)
    assert str(machine.data) in said


def test_the_command_says_it_on_one_line(machine: Machine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", machine.ports["FRONT__HTTP_PORT"]))
        taken.listen()
        code, said = machine.command("run", "--detach")
    assert code == 2
    assert one_sentence(said)
    assert "front.http_port" in said


def test_a_bad_setting(machine: Machine) -> None:
    code, said = machine.refused(APPLIANCE_FRONT__HTTP_PORTS="8080")
    assert code == 2
    assert "APPLIANCE_FRONT__HTTP_PORT?" in said


def test_settings_that_are_no_toml(machine: Machine) -> None:
    machine.data.mkdir()
    (machine.data / "settings.toml").write_text("[front\nhttp_port = 1")
    code, said = machine.refused()
    assert code == 2
    assert "settings.toml" in said


def test_programs_that_were_never_built(machine: Machine, tmp_path: Path) -> None:
    code, said = machine.refused(APPLIANCE_PROGRAMS_DIR=str(tmp_path / "none"))
    assert code == 1
    assert "scripts/setup" in said


def test_a_model_that_is_missing(machine: Machine, tmp_path: Path) -> None:
    code, said = machine.refused(APPLIANCE_BUILTIN_MODELS_DIR=str(tmp_path / "none"))
    assert code != 0
    assert one_sentence(said)
    assert "whisper-base" in said


def test_a_model_with_a_wrong_digest(machine: Machine, tmp_path: Path) -> None:
    builtin = Settings(data_dir=machine.data).builtin_models_dir
    copied = tmp_path / "models"
    shutil.copytree(builtin, copied, copy_function=os.link)
    (weights,) = (copied / "smollm2-135m-instruct").glob("*.gguf")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    code, said = machine.refused(APPLIANCE_BUILTIN_MODELS_DIR=str(copied))
    assert code != 0
    assert one_sentence(said)
    assert "smollm2-135m-instruct" in said


def test_a_persona_that_does_not_exist(machine: Machine) -> None:
    code, said = machine.refused(APPLIANCE_PERSONA="nobody")
    assert code == 2
    assert "nobody" in said


def test_a_persona_that_asks_for_another_model(machine: Machine) -> None:
    (machine.data / "personas").mkdir(parents=True)
    text = "name: ann\ninstructions: Answer.\nmodel: qwen9\n"
    (machine.data / "personas" / "ann.yaml").write_text(text)
    said = machine.refused(APPLIANCE_PERSONA="ann")[1]
    assert "'qwen9'" in said
    assert "smollm2-135m-instruct" in said


def test_down_and_status_before_anything_was_started(machine: Machine) -> None:
    assert machine.command("down")[0] == 0
    assert machine.command("status")[0] == 3
    assert not machine.data.exists()


def test_the_data_folder_is_the_owners_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new" / "data")
    preflight.prepare_folders(settings)
    for folder in (settings.data_dir, settings.run_dir, settings.secrets_dir):
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What /tmp is to others; nothing in it yet. The data folder's path is too long for sockets."""
    place = tmp_path / "shared"
    place.mkdir()
    monkeypatch.setattr("appliance.settings._SHARED_PLACE", place)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return place


def _long(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / ("long" * 30))


def test_a_run_folder_among_other_users_is_the_owners_alone(tmp_path: Path, shared: Path) -> None:
    settings = _long(tmp_path)
    settings.run_dir.parent.mkdir(mode=0o755)
    preflight.prepare_folders(settings)
    for folder in (settings.run_dir.parent, settings.run_dir):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert settings.run_dir.parent.parent == shared
    assert shared.stat().st_mode & 0o777 != 0o700


def test_the_login_sessions_own_folder_stays_as_it_is(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared.chmod(0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(shared))
    preflight.prepare_folders(_long(tmp_path))
    assert shared.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("which", ["outer", "inner"])
def test_a_run_folder_that_is_a_link_is_refused(tmp_path: Path, shared: Path, which: str) -> None:
    settings = _long(tmp_path)
    folder = settings.run_dir if which == "inner" else settings.run_dir.parent
    folder.parent.mkdir(exist_ok=True)
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadSettings, match="is a link"):
        preflight.prepare_folders(settings)
    assert (tmp_path / "elsewhere").stat().st_mode & 0o777 == 0o755
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert list(shared.iterdir()) == [settings.run_dir.parent]


@pytest.mark.usefixtures("shared")
def test_a_run_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_001)
    settings = _long(tmp_path)
    settings.run_dir.parent.mkdir()
    with pytest.raises(BadSettings, match="belongs to another user"):
        preflight.prepare_folders(settings)


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        total: int = 10**9
        used: int = 10**9
        free: int = 12_000_000

    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage())
    with pytest.raises(ApplianceError, match="Only 12 MB"):
        preflight.check_disk(Settings(data_dir=tmp_path))


def test_a_folder_on_a_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "touch", full)
    with pytest.raises(BadSettings, match="no space left"):
        preflight.prepare_folders(Settings(data_dir=tmp_path))
