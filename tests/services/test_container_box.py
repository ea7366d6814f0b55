"""The image's entrypoint with the real programs, on a machine whose required GPU is missing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from appliance.settings import PROJECT_DIR
from appliance.supervision import members
from tests.box import Box
from tests.waiting import until

pytestmark = [pytest.mark.services, pytest.mark.timeout(700)]

READY_S = 300


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path, {"APPLIANCE_GPU": "required"})


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """What `docker logs` would show."""
    return tmp_path / "said"


@pytest.fixture
def entry(box: Box, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            [PROJECT_DIR / "docker" / "entrypoint"], env=box.environment, stdout=out, stderr=out
        )
    yield process
    process.kill()
    process.wait()
    until(lambda: not members(box.settings.run_dir), READY_S, "the end of the box")


def health(box: Box) -> tuple[int, str]:
    done = subprocess.run(
        [PROJECT_DIR / "docker" / "healthcheck"], env=box.environment, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_the_panel_comes_up_and_says_why_no_model_does(
    box: Box, log: Path, entry: subprocess.Popen[bytes]
) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a GPU")
    why = "This machine has no NVIDIA GPU."
    until(lambda: "/set-up?code=" in log.read_text(), READY_S, "the panel")
    said = log.read_text()
    assert f"Warning: {why}" in said
    assert f"stt, llm, tts given up: {why}" in said
    assert f"On this machine: {box.url}" in said
    # The command and the pages of the box say the same.
    programs = {one["name"]: one for one in box.status()["programs"]}
    assert {programs[name]["state"] for name in ("stt", "llm", "tts")} == {"given_up"}
    assert programs["panel"]["ready"]
    assert httpx.get(f"{box.url}/readyz", trust_env=False).status_code == 503
    state = httpx.get(f"{box.url}/api/v1/box", headers=box.auth, trust_env=False, timeout=30).json()
    (reason,) = (one for one in state["why"] if why in one)
    assert reason.count(",") >= 2
    code, words = health(box)
    assert code == 1
    assert "stt, llm, tts: " + why in words
    entry.terminate()
    assert entry.wait(READY_S) == 0
    assert log.read_text().endswith("Earshot has stopped.\n")
    assert health(box) == (0, "It is being stopped.\n")
    assert not members(box.settings.run_dir)
