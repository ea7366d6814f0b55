"""A data folder that is half broken, and a box that somebody else is starting."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from appliance import cli, preflight, starting
from appliance.errors import ApplianceError, BadSettings, TimedOut
from appliance.running import keep_start
from appliance.secrets import livekit_keys
from appliance.settings import Settings, least_settings, load_settings
from appliance.status import BoxStatus, ProgramStatus
from tests.fakes import member_of

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The data folder, and no setting from outside."""
    for name in list(os.environ):
        if name.startswith(("APPLIANCE_", "LIVEKIT_", "WHISPER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("APPLIANCE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(starting, "_POLL_S", 0.001)
    monkeypatch.setattr(cli, "_log_to_file", lambda: "")
    return tmp_path


def box_of(state: str, restarts: int = 0) -> BoxStatus:
    ready = state == "ready"
    return BoxStatus(ready, (ProgramStatus("stt", state, ready, "a reason", 1, restarts, 0),))


@pytest.fixture
def _held(data: Path) -> Iterator[None]:
    """Somebody else's box."""
    with (data / "box.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def saying(monkeypatch: pytest.MonkeyPatch, *boxes: BoxStatus) -> None:
    """What the box answers, one after the other; the last for ever."""
    left = list(boxes)

    async def status(_settings: Settings, *, memory: bool) -> BoxStatus:
        assert not memory
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(starting, "box_status", status)


def run_detached() -> tuple[int, str]:
    done = CliRunner().invoke(cli.build(), ["run", "--detach"])
    if isinstance(done.exception, ApplianceError):
        return done.exception.exit_code, str(done.exception)
    return done.exit_code, done.output


@pytest.mark.usefixtures("_held")
def test_a_second_start_waits_until_the_first_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    # It has ended often in its long life, which keeps nobody from waiting for it.
    saying(monkeypatch, box_of("loading", 9), box_of("loading", 9), box_of("ready", 9))
    code, said = run_detached()
    assert code == 0
    assert said.count("is starting; waiting") == 1
    assert "already running" in said


@pytest.fixture
def _started(_held: None, data: Path) -> Iterator[None]:
    """A box that was started at other ports than the settings now name."""
    run = data / "run"
    run.mkdir(mode=0o700)
    with member_of(run) as supervisor_pid:
        keep_start(Settings(data_dir=data, front={"http_port": 9191}), supervisor_pid)
        yield


@pytest.mark.usefixtures("_started")
def test_a_second_start_with_other_settings_names_the_true_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("APPLIANCE_FRONT__HTTP_PORT", "9292")
    saying(monkeypatch, box_of("ready"))
    code, said = run_detached()
    assert code == 0
    assert "already running at http://localhost:9191." in said
    assert "other settings; `scripts/appliance down`, then `scripts/run`" in said
    assert "9292" not in said


@pytest.mark.usefixtures("_started")
def test_the_same_ports_are_no_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_FRONT__HTTP_PORT", "9191")
    saying(monkeypatch, box_of("ready"))
    assert "other settings" not in run_detached()[1]


@pytest.mark.usefixtures("_held")
def test_a_second_start_of_a_ready_box_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    saying(monkeypatch, box_of("ready"))
    code, said = run_detached()
    assert code == 0
    assert "waiting" not in said


@pytest.mark.usefixtures("_held")
def test_a_second_start_tells_why_the_first_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    saying(monkeypatch, box_of("loading"), box_of("failed"))
    monkeypatch.setattr(starting, "members", lambda _run_dir: [object()])
    code, said = run_detached()
    assert code == 1
    assert "stt could not be started: a reason" in said


@pytest.mark.usefixtures("_held")
def test_what_an_earlier_box_died_of_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    saying(monkeypatch, box_of("given_up"), box_of("ready"))
    assert run_detached()[0] == 0


@pytest.mark.usefixtures("_held")
def test_a_second_start_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    saying(monkeypatch, box_of("loading"))
    monkeypatch.setattr(starting, "_READY_WITHIN_S", 0.0)
    with pytest.raises(TimedOut, match="stt"):
        starting.await_running(load_settings(), lambda: None)


def test_a_second_start_notices_that_the_first_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    saying(monkeypatch, box_of("stopped"))
    with pytest.raises(ApplianceError, match="ended before it was ready"):
        starting.await_running(load_settings(), lambda: None)


def test_down_stops_the_box_whatever_the_settings_say(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "settings.toml").write_text("[front\n")
    stopped: list[Settings] = []

    def stop(settings: Settings) -> bool:
        stopped.append(settings)
        return True

    monkeypatch.setattr(starting, "stop", stop)
    done = CliRunner().invoke(cli.build(), ["down"])
    assert done.exit_code == 0
    assert "Earshot has stopped." in done.output
    assert done.output.count("Warning: ") == 1
    assert "not valid TOML" in done.output
    (settings,) = stopped
    assert settings.run_dir == data / "run"
    # As long as the box's own may be.
    assert settings.agent.drain_s == 120


def test_logs_are_shown_whatever_the_settings_say(data: Path) -> None:
    (data / "settings.toml").write_text("[sst]\n")
    (data / "logs").mkdir()
    (data / "logs" / "stt.log").write_text('{"event": "heard"}\n')
    done = CliRunner().invoke(cli.build(), ["logs", "stt"])
    assert done.exit_code == 0
    assert "heard" in done.output
    assert "'sst'" in done.output


def test_a_misspelt_name_in_the_environment_stops_no_other_box(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("APPLIANCE_DATA_DIRR", "elsewhere")
    with pytest.raises(BadSettings, match="APPLIANCE_DATA_DIRR"):
        least_settings()


def test_a_log_that_cannot_be_read_is_named(data: Path) -> None:
    log = data / "logs" / "stt.log"
    log.mkdir(parents=True)
    error = CliRunner().invoke(cli.build(), ["logs", "stt"]).exception
    assert isinstance(error, ApplianceError)
    assert f"{log} cannot be read: is a directory." in str(error)


def test_a_secret_that_cannot_be_read_is_named(data: Path) -> None:
    secret = data / "secrets" / "livekit_api_key"
    secret.mkdir(parents=True)
    with pytest.raises(BadSettings) as error:
        livekit_keys(load_settings())
    assert str(secret) in error.value.message


def test_a_data_folder_that_cannot_be_entered_is_named(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = data / "settings.toml"
    real = Path.stat

    def stat(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path == closed:
            raise PermissionError(13, "Permission denied")
        return real(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", stat)
    with pytest.raises(BadSettings) as error:
        load_settings()
    assert error.value.message == f"The data folder {data} cannot be entered."


def test_the_log_folder_is_repaired_and_personas_have_a_place(data: Path) -> None:
    (data / "logs").mkdir()
    (data / "logs").chmod(0o500)
    preflight.prepare_folders(load_settings())
    for name in ("logs", "personas"):
        assert (data / name).stat().st_mode & 0o777 == 0o700
