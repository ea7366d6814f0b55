"""Installing from a bundle: the order of things, and what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fakes_docker import (
    TAG,
    Docker,
    call,
)
from tests.small_bundles import Box, Made, install, order

pytestmark = pytest.mark.unit


def test_install_looks_loads_starts_and_proves_in_this_order(box: Box) -> None:
    assert order(
        box.docker.calls, "preflight", "load", "models import", " up ", "inspect", "prove-offline"
    )
    assert "--no-build --pull never" in next(c for c in box.docker.calls if " up " in c)
    assert box.is_as_before()
    assert (
        "COMPOSE_FILE=docker-compose.yml:docker-compose.cpu.yml"
        in (box.root / ".env").read_text().splitlines()
    )
    assert (box.root / ".env").stat().st_mode & 0o777 == 0o600
    with_models = subprocess.run(
        ["tar", "-tf", box.docker.state / "imported.tar"],
        capture_output=True,
        text=True,
        check=True,
    )
    # Files alone, the list first: that is what the box takes.
    assert with_models.stdout.splitlines() == ["models.json", "large/model.gguf"]


def test_a_machine_that_cannot_run_it_gets_nothing_loaded(
    bundle: Made, docker: Docker, tmp_path: Path
) -> None:
    docker.flag("no-preflight")
    done = install(bundle, docker, tmp_path / "box")
    assert done.returncode == 1
    assert "not installed yet" in done.stderr
    assert not any(call.startswith("load") for call in docker.calls)
    # Mended, the same command goes on.
    (docker.state / "no-preflight").unlink()
    assert install(bundle, docker, tmp_path / "box").returncode == 0


def test_settings_of_the_owner_stay(bundle: Made, docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "box/.env").write_text("# ours\nAPPLIANCE_FRONT__HTTPS_PORT=9443")
    assert install(bundle, docker, tmp_path / "box").returncode == 0
    lines = (tmp_path / "box/.env").read_text().splitlines()
    assert lines[:2] == ["# ours", "APPLIANCE_FRONT__HTTPS_PORT=9443"]
    assert f"EARSHOT_IMAGE={TAG}" in lines


def test_an_image_that_is_not_the_manifests_is_not_started(
    bundle: Made, docker: Docker, tmp_path: Path
) -> None:
    docker.flag("swapped")
    done = install(bundle, docker, tmp_path / "box")
    assert done.returncode == 1
    assert "not the image that the manifest names" in done.stderr
    assert not any(" up " in call for call in docker.calls)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("no-up", "Docker could not start"),
        ("no-import", "models were not installed"),
        ("no-prove-offline", "offline proof did not pass"),
    ],
)
def test_what_fails_is_said_in_one_sentence(
    bundle: Made, docker: Docker, tmp_path: Path, flag: str, said: str
) -> None:
    docker.flag(flag)
    done = install(bundle, docker, tmp_path / "box")
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_installed_box_is_updated_and_not_installed_over(box: Box) -> None:
    second = box.second()
    done = call(
        box.docker, "bash", second / "install.sh", "--signer", box.bundle.signer,
        "--into", box.root,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"update {second}" in done.stderr
    assert box.is_as_before()


def test_sources_are_not_installed_over(bundle: Made, docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "box/.git").mkdir(parents=True)
    done = install(bundle, docker, tmp_path / "box")
    assert "sources" in done.stderr
    assert not any(call.startswith("load") for call in docker.calls)


@pytest.mark.parametrize("name", ["docs/precious.txt", "README.md", ".old/precious"])
def test_what_is_somebodys_own_is_not_installed_over(
    bundle: Made, docker: Docker, tmp_path: Path, name: str
) -> None:
    theirs = tmp_path / "box" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("dear")
    done = install(bundle, docker, tmp_path / "box")
    assert done.returncode == 1
    assert "not Earshot's" in done.stderr
    assert theirs.read_text() == "dear"
    assert not (tmp_path / "box/docker-compose.yml").exists()


def test_a_first_try_that_loaded_nothing_does_not_keep_a_newer_bundle_out(
    bundle: Made, docker: Docker, tmp_path: Path
) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "box/.env").write_text("EARSHOT_IMAGE=earshot:never\n")
    done = install(bundle, docker, tmp_path / "box")
    assert done.returncode == 0, done.stderr
    assert f"EARSHOT_IMAGE={TAG}" in (tmp_path / "box/.env").read_text()
