"""Set-up on a machine with an NVIDIA card: what it compiles, and what it says where it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
RTX_4090 = "580.95.05, 8.9, NVIDIA GeForce RTX 4090"
# What set-up would fetch or compile for minutes leaves a line instead.
_STAND_INS = """
set -euo pipefail
. scripts/steps
mkdir -p .cache/{bin,logs,stamps,tools,wheels}
pip() { echo "pip $*" >>said; [ ! -e pip-fails ] || { echo "Could not resolve host"; return 1; }; }
PIP=(pip)
build_llama() {
  echo "build $(llama_flags)" >>said
  [ ! -e build-fails ] || { echo "nvcc: no"; false; echo "went on" >>said; }
  mkdir -p "$1" && touch "$1/llama.whl"
}
free_mb() { cat free-mb; }
look_at_card
set_up_llama
"""


@dataclass
class Machine:
    """A clone with stand-ins for the card, the environment's Python, pip and the compiler."""

    folder: Path
    path: Path

    def smi(self, answer: str, code: int = 0) -> None:
        self.program(self.path / "nvidia-smi", f"echo '{answer}'; exit {code}")

    def python(self, *, gpu: str = "auto", finds_card: bool = True) -> None:
        found = 0 if finds_card else 1
        body = f'case "$*" in *load_settings*) echo {gpu} ;; *llama_cpp*) exit {found} ;; esac'
        self.program(self.folder / ".venv/bin/python", body)

    def program(self, path: Path, body: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)

    def set_up(self) -> tuple[str, str]:
        """What it says, and what was built and installed in this run."""
        log = self.folder / "said"
        log.unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", "-c", _STAND_INS], cwd=self.folder, text=True, capture_output=True,
            timeout=60, check=False, env={**os.environ, "PATH": f"{self.path}:{os.environ['PATH']}"},
        )  # fmt: skip
        assert done.returncode == 0, done
        return done.stdout + done.stderr, log.read_text() if log.exists() else ""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    folder = tmp_path / "clone"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    for lock in ROOT.glob("requirements*.lock"):
        shutil.copy(lock, folder)
    text = (folder / "scripts/setup").read_text()
    assert text.endswith('\nmain "$@"\n')
    (folder / "scripts/steps").write_text(text.removesuffix('main "$@"\n'))
    (folder / "free-mb").write_text("50000\n")
    found = Machine(folder, tmp_path / "bin")
    found.smi(RTX_4090)
    found.python()
    return found


def test_llama_is_compiled_for_the_card_that_is_there_once(machine: Machine) -> None:
    said, done = machine.set_up()
    assert "-DCMAKE_CUDA_ARCHITECTURES=89-real" in done
    assert "-DGGML_CUDA_NO_VMM=ON" in done
    assert "GGML_NATIVE=ON" in done
    assert "cuda-whisper.txt" in done
    assert "cuda-llama.txt" in done
    assert "compiled for this NVIDIA GeForce RTX 4090, once: about" in said
    assert "minutes on" in said
    libraries = (machine.folder / ".cache/cuda-whisper.txt").read_text()
    assert "nvidia-cublas-cu12==" in libraries
    assert "--hash=" in libraries
    assert machine.set_up() == ("", "")


@pytest.mark.parametrize(
    ("card", "said", "libraries"),
    [
        ("550.54.14, 8.9, NVIDIA L4", "L4: its driver 550 is older than 580", True),
        ("580.95.05, 6.1, NVIDIA GTX 1080", "GTX 1080: CUDA 13 has no code for it", True),
        ("470.82.01, 8.6, NVIDIA A2", "Everything runs on the processor, not on this NVIDIA A2", False),
    ],
)  # fmt: skip
def test_what_stays_on_the_processor_is_told_with_the_reason(
    machine: Machine, card: str, said: str, libraries: bool
) -> None:
    machine.smi(card)
    told, done = machine.set_up()
    assert said in told
    assert "build -DGGML_NATIVE=ON -DLLAVA" in done
    assert ("cuda-whisper.txt" in done) == libraries
    assert "cuda-llama.txt" not in done


def test_without_a_card_or_with_gpu_off_nothing_is_said_of_one(machine: Machine) -> None:
    machine.smi("No devices were found", 6)
    for _ in ("no card", "a card that is not wanted"):
        told, done = machine.set_up()
        assert "card" not in told
        assert "cuda" not in done.lower()
        machine.smi(RTX_4090)
        machine.python(gpu="off")


def test_a_build_that_fails_falls_back_once_and_is_tried_again_when_asked(machine: Machine) -> None:
    (machine.folder / "build-fails").touch()
    machine.program(machine.path / "nproc", "echo 2")
    script = machine.folder / "scripts/steps"
    # The processor's own build does not fail.
    script.write_text(script.read_text().replace("set_up_llama_wheel() {", "set_up_llama_wheel() {\n  rm -f build-fails", 1))  # fmt: skip
    told, done = machine.set_up()
    assert "about 20 minutes on 2 cores" in told
    assert "cuda could not be set up" in told
    assert "not on this NVIDIA GeForce RTX 4090: compiling for it failed" in told
    assert "went on" not in done
    first, second = [line for line in done.splitlines() if line.startswith("build")]
    assert "GGML_CUDA=ON" in first
    assert "CUDA" not in second
    told, done = machine.set_up()
    assert "To try again: rm .cache/stamps/llama-card-failed" in told
    assert done == ""
    (machine.folder / ".cache/stamps/llama-card-failed").unlink()
    told, done = machine.set_up()
    assert "build -DGGML_NATIVE=ON -DGGML_CUDA=ON" in done
    assert "failed" not in told


def test_a_wheel_that_does_not_find_the_card_is_not_kept(machine: Machine) -> None:
    machine.python(finds_card=False)
    told, done = machine.set_up()
    assert "compiling for it failed" in told
    assert done.splitlines()[-2].startswith("build -DGGML_NATIVE=ON -DLLAVA")
    assert len(list((machine.folder / ".cache/wheels").iterdir())) == 1


def test_libraries_that_cannot_be_fetched_keep_nothing_from_starting(machine: Machine) -> None:
    (machine.folder / "pip-fails").touch()
    script = machine.folder / "scripts/steps"
    script.write_text(script.read_text().replace("set_up_llama_wheel() {", "set_up_llama_wheel() {\n  rm -f pip-fails", 1))  # fmt: skip
    told, done = machine.set_up()
    assert "A download for cuda-whisper failed" in told
    assert "Whisper runs on the processor" in told
    assert "The language model runs on the processor" in told
    assert "build -DGGML_NATIVE=ON -DLLAVA" in done


def test_too_little_disk_is_told_before_anything_is_fetched(machine: Machine) -> None:
    (machine.folder / "free-mb").write_text("5000\n")
    told, done = machine.set_up()
    assert "needs 6 GB of disk, and 5000 MB are free here" in told
    assert "GGML_CUDA" not in done
