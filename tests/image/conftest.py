"""What the tests of the image need: a Docker engine, and the image."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_BUILD_WITHIN_S = 3600

Docker = Callable[..., subprocess.CompletedProcess[str]]


def _version() -> str:
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return version


def run_script(name: str, *arguments: str) -> None:
    """Run one of our scripts; its last words are the failure's reason."""
    done = subprocess.run(
        [str(ROOT / "scripts" / name), *arguments], text=True, capture_output=True, check=False,
        timeout=_BUILD_WITHIN_S,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.fixture(scope="session")
def docker() -> Docker:
    """Calls docker: ``docker("run", …, check=True, timeout_s=120)``."""
    run_script("docker-engine")

    def call(
        *arguments: str | Path, check: bool = True, timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["docker", *(str(argument) for argument in arguments)],
            text=True, capture_output=True, check=False, timeout=timeout_s,
        )  # fmt: skip
        assert not check or done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done

    return call


@pytest.fixture(scope="session")
def cpu_image(docker: Docker) -> str:
    """The tag of the image without CUDA; built if it is not there (scripts/test image builds it anew)."""
    tag = f"earshot:{_version()}-cpu"
    if docker("image", "inspect", tag, check=False).returncode:
        run_script("image", "cpu")
    return tag


@pytest.fixture(scope="session")
def cuda_image(docker: Docker) -> str:
    """The tag of the image with CUDA, where somebody has built one."""
    tag = f"earshot:{_version()}"
    if docker("image", "inspect", tag, check=False).returncode:
        pytest.skip("no CUDA image here: scripts/image cuda builds it in tens of minutes")
    return tag
