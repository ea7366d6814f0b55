"""The container's own parts: what it says, when it gives the GPU up, whether it is well."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pynvml
import pytest

from appliance import container
from appliance.cli.run import _Terminal
from appliance.container.health import verdict
from appliance.container.keeping import EVERY_S, Keeper
from appliance.container.losses import MOST, WITHIN_S, Losses
from appliance.container.saying import Saying, stopping_mark
from appliance.gpu import Gpu, GpuReader, reader_of, unusable, why_unusable
from appliance.holding import Wish
from appliance.settings import PROJECT_DIR, Settings
from appliance.starting import Interrupted
from appliance.status import BoxStatus, ProgramStatus
from appliance.welcome import addresses, set_up_lines
from tests.fakes_nvml import GIB, RTX_4090, FakeNvml, loaded

pytestmark = pytest.mark.unit

HERE = Gpu("present", name="RTX 4090", driver="570.1")
GONE = Gpu("lost", "The GPU has dropped out.", "Switch the machine off and on again.")
BUSY = Gpu("unknown", "The GPU does not answer at the moment.")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def program(name: str, state: str = "ready", why: str = "", restarts: int = 0) -> ProgramStatus:
    return ProgramStatus(name, state, state == "ready", why, 1, restarts, 1)


def box(*programs: ProgramStatus) -> BoxStatus:
    return BoxStatus(all(one.ready for one in programs), programs)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    made = Settings(data_dir=tmp_path, gpu="required")
    made.run_dir.mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return made


# ---- the GPU that is required ----------------------------------------------------------------


def test_a_gpu_that_can_be_used_is_no_reason(settings: Settings) -> None:
    with loaded(FakeNvml()):
        assert why_unusable(settings) == ""


@pytest.mark.parametrize(
    ("library", "told"),
    [
        (None, "This machine has no NVIDIA GPU. Give it to Earshot"),
        (FakeNvml({**RTX_4090, "nvmlSystemGetDriverVersion": b"515.65.01"}), "driver 515.65.01 is too old for CUDA 12. Update it to 525"),
        (
            FakeNvml({**RTX_4090, "nvmlDeviceGetMemoryInfo": {"total": 24 * GIB, "used": 24 * GIB, "free": 300 << 20}}),
            "Only 300 MB of the GPU's memory are free. End what uses it",
        ),
    ],
    ids=["none", "old driver", "full"],
)  # fmt: skip
def test_why_a_required_gpu_cannot_be_used_is_one_line(
    settings: Settings, library: FakeNvml | None, told: str
) -> None:
    with loaded(library):
        why = why_unusable(settings)
        assert told in why
        assert "\n" not in why
        assert "CPU" not in why
        assert why_unusable(Settings(data_dir=settings.data_dir, gpu="auto")) == ""


def test_a_newest_driver_with_an_unknown_number_is_believed() -> None:
    assert unusable(Gpu("present", driver="r600-beta")) is None


def test_a_gpu_that_is_switched_off_is_never_asked() -> None:
    with loaded(FakeNvml()):
        read = reader_of(Settings(gpu="off")).read()
        assert GpuReader().read().is_present
    assert (read.state, read.memory_total) == ("absent", None)
    assert "setting gpu is off" in read.why


# ---- a GPU that is lost ----------------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A box whose programs are all ready."""
    monkeypatch.setattr(Keeper, "_status", lambda _self: box(program("panel")))


def looks(settings: Settings, clock: Clock, readings: list[Gpu]) -> list[str]:
    """What the keeper says to each of them."""
    losses = Losses(settings.data_dir / "gpu_losses", clock)
    keeper = Keeper(settings, Saying(settings), losses, iter(readings).__next__, clock)
    said = []
    for _ in readings:
        said.append(keeper.look())
        clock.now += EVERY_S
    return said


@pytest.mark.usefixtures("quiet")
def test_a_gpu_that_stays_away_ends_the_box_with_its_reason(
    settings: Settings, clock: Clock
) -> None:
    said = looks(settings, clock, [HERE, GONE, GONE])
    assert said[:2] == ["", ""]
    assert said[2].startswith("The GPU was lost while Earshot ran. The GPU has dropped out.")


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "readings", [[HERE, GONE, HERE, GONE], [HERE, BUSY, BUSY, BUSY]], ids=["for a moment", "busy"]
)  # fmt: skip
def test_a_gpu_that_is_not_lost_ends_nothing(
    settings: Settings, clock: Clock, readings: list[Gpu]
) -> None:
    assert set(looks(settings, clock, readings)) == {""}


@pytest.mark.usefixtures("quiet")
def test_without_a_gpu_that_is_required_nobody_looks(tmp_path: Path, clock: Clock) -> None:
    assert set(looks(Settings(data_dir=tmp_path, gpu="auto"), clock, [HERE, GONE, GONE])) == {""}


def test_after_three_losses_in_ten_minutes_the_gpu_is_not_tried_again(
    tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "gpu_losses"
    for _ in range(MOST - 1):
        Losses(path, clock).add()
        clock.now += 60
    assert Losses(path, clock).verdict() == ""
    Losses(path, clock).add()
    assert "lost 3 times within 10 minutes" in Losses(path, clock).verdict()
    clock.now += WITHIN_S
    assert Losses(path, clock).verdict() == ""


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("lost_before", "usable", "ends"), [(0, True, True), (MOST, True, False), (0, False, False)],
    ids=["lost while it loads", "given up", "never usable"],
)  # fmt: skip
def test_only_a_gpu_that_was_usable_before_the_start_can_be_lost(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, lost_before: int, usable: bool, ends: bool
) -> None:
    for _ in range(lost_before):
        Losses(settings.data_dir / "gpu_losses").add()
    # When it is decided whether models are started; from then on it is away.
    readings = iter([HERE] if usable else [])
    monkeypatch.setattr(GpuReader, "read", lambda _self: next(readings, GONE))
    monkeypatch.setattr("appliance.container.keeping.EVERY_S", 0.0)
    found = []

    def started(*_: object, wish: Wish, **__: object) -> int:
        found.append(wish.without_models)
        found.extend(wish.lost() for _ in range(4))
        return 0

    monkeypatch.setattr(container, "start", started)
    assert container.hold(settings) == 0
    why, *said = found
    assert ("lost 3 times within 10 minutes" in why) == bool(lost_before)
    assert any(said) == ends


def test_a_damaged_record_of_losses_counts_none(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "gpu_losses"
    path.write_text("yesterday\n")
    assert Losses(path, clock).verdict() == ""
    Losses(path, clock).add()
    assert path.read_text() == "1000000\n"


# ---- what it says ----------------------------------------------------------------------------


def test_each_change_is_said_once(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    saying = Saying(settings)
    for state in (
        box(program("stt", "loading"), program("panel")),
        box(program("stt"), program("panel")),
        box(program("stt"), program("panel")),
        box(program("stt", restarts=1), program("panel")),
        box(program("stt", "given_up", "It ended 5 times.", 5), program("panel")),
    ):
        saying.changes(state)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" after")[0] for line in lines] == [
        "panel is ready",
        "stt is ready",
        "Earshot is ready.",
        "stt ended and is started again (1 times so far).",
        "stt ended and is started again (5 times so far).",
        "stt given up: It ended 5 times.",
    ]


def test_the_opening_names_the_gpu_or_why_there_is_none(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    stopping_mark().touch()
    lost = FakeNvml()
    lost.errors["nvmlInitWithFlags"] = pynvml.NVML_ERROR_GPU_IS_LOST
    for one in (FakeNvml(), lost):
        with loaded(one):
            Saying(settings).opening()
            Saying(settings.model_copy(update={"gpu": "auto"})).opening()
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("GPU")]
    assert said == [*["GPU: NVIDIA GeForce RTX 4090, driver 570.133.20"] * 2, "GPU: The GPU has dropped out."]  # fmt: skip
    assert not stopping_mark().exists()


def test_the_set_up_link_is_printed_for_this_machine_and_for_the_network(tmp_path: Path) -> None:
    from appliance.store import upgrade

    settings = Settings(data_dir=tmp_path, front={"lan": True}, livekit={"node_ip": "192.168.7.20"})
    upgrade(settings.store_url)
    assert addresses(settings) == [
        "On this machine: http://localhost:8080", "In the network:  https://192.168.7.20:8443",
    ]  # fmt: skip
    _sentence, here, there = set_up_lines(settings)
    assert here.startswith("http://localhost:8080/set-up?code=")
    assert there == here.replace("http://localhost:8080", "https://192.168.7.20:8443")
    settings.front.lan = False
    assert len(set_up_lines(settings)) == 2


# ---- whether it is well ----------------------------------------------------------------------


def served(tmp_path: Path, said: bytes) -> tuple[bool, str]:
    """The verdict on a panel that says this."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "panel.sock"))
        server.listen()

        def serve() -> None:
            line, _ = server.accept()
            with line:
                line.recv(1000)
                line.sendall(said)

        panel = threading.Thread(target=serve)
        panel.start()
        try:
            return verdict(tmp_path, tmp_path / "stopping")
        finally:
            panel.join()
            (tmp_path / "panel.sock").unlink()


def test_a_ready_box_is_well(tmp_path: Path) -> None:
    assert served(tmp_path, b"HTTP/1.1 200 OK\r\n\r\n{}") == (True, "It takes calls.")


def test_a_box_that_is_not_ready_is_not_well_and_says_why(tmp_path: Path) -> None:
    told = {"programs": [
        {"name": "stt", "ready": False, "why": "No GPU."}, {"name": "tts", "ready": True, "why": ""},
        {"name": "llm", "ready": False, "why": "No GPU."},
    ]}  # fmt: skip
    said = b"HTTP/1.1 503 Service Unavailable\r\n\r\n" + json.dumps(told).encode()
    assert served(tmp_path, said) == (False, "stt, llm: No GPU.")


@pytest.mark.parametrize("said", [b"", b"nonsense", b"HTTP/1.1 502 Bad\r\n\r\n<html>"])
def test_a_panel_that_talks_nonsense_is_not_well(tmp_path: Path, said: bytes) -> None:
    assert served(tmp_path, said) == (False, "The panel does not answer.")


def test_the_health_check_needs_no_package_and_is_true_while_stopping(settings: Settings) -> None:
    def check(container: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROJECT_DIR / "docker" / "healthcheck"], text=True, capture_output=True, check=False,
            env={"APPLIANCE_DATA_DIR": str(settings.data_dir), "PATH": "/usr/bin:/bin",
                 "TMPDIR": str(container)},
        )  # fmt: skip

    here, following = stopping_mark().parent, settings.data_dir / "following"
    done = check(here)
    assert (done.returncode, done.stdout) == (1, "The panel does not answer.\n")
    Saying(settings).stopping()
    done = check(here)
    assert (done.returncode, done.stdout) == (0, "It is being stopped.\n")
    # The next container has the same data volume, and has said nothing yet.
    done = check(following)
    assert (done.returncode, done.stdout) == (1, "The panel does not answer.\n")


# ---- the entrypoint --------------------------------------------------------------------------


def entry(data: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROJECT_DIR / "docker" / "entrypoint", *arguments], text=True, capture_output=True,
        check=False, timeout=60, cwd=data.parent,
        env={"APPLIANCE_DATA_DIR": str(data), "PATH": "/usr/bin:/bin", **extra},
    )  # fmt: skip


def test_the_entrypoint_runs_what_it_is_given(tmp_path: Path) -> None:
    done = entry(tmp_path / "data", sys.executable, "-c", "print(6 * 7)")
    assert (done.returncode, done.stdout) == (0, "42\n")
    assert not (tmp_path / "data").exists()


def test_what_keeps_the_container_from_starting_is_one_line(tmp_path: Path) -> None:
    done = entry(tmp_path / "data", APPLIANCE_LIVEKIT__PORT="8080")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Earshot cannot start: The settings front.http_port and livekit")
    assert "Earshot 0." in done.stdout


def test_a_data_folder_of_somebody_else_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file in its place")
    done = entry(tmp_path / "data")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(tmp_path / "data") in done.stderr
    assert f"must belong to user {os.getuid()}" in done.stderr


def test_a_stop_while_it_starts_is_a_stop_like_any_other(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> int:
        raise Interrupted("interrupted", "Earshot was stopped while it was starting.")

    monkeypatch.setattr(container, "start", interrupted)
    assert container.hold(settings) == 0
    assert capsys.readouterr().out.endswith("Earshot has stopped.\n")


def test_lost_thrice_it_starts_without_models(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes = list[Wish]()

    def started(*_: object, wish: Wish, **__: object) -> int:
        wishes.append(wish)
        return 0

    monkeypatch.setattr(container, "start", started)
    container.hold(settings)
    for _ in range(MOST):
        Losses(settings.data_dir / "gpu_losses").add()
    container.hold(settings)
    assert all(wish.is_patient for wish in wishes)
    assert wishes[0].without_models == ""
    assert "lost 3 times" in wishes[1].without_models


def test_a_terminal_is_told_what_is_not_ready(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    report = _Terminal(settings, held=False)
    state = box(program("panel"), program("stt", "given_up", "No GPU."))
    report.progress(state)
    report.ready(state)
    said = capsys.readouterr().out
    assert "panel    ready after" in said
    assert "stt      not ready: No GPU." in said
    assert "Earshot takes no calls yet; its panel is at http://localhost:8080" in said
