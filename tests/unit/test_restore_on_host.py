"""On a machine with Docker a restore runs in a container of its own, and only while the box is down."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.settings import PROJECT_DIR

pytestmark = pytest.mark.unit
_DOCKER = """#!/usr/bin/env bash
case "$*" in
  *"compose ps"*) cat "$HERE/running" ;;
  *)
    printf '%s\\n' "$*" >"$HERE/asked"
    cat >"$HERE/stdin"
    while [ $# -gt 0 ]; do
      if [ "$1" = --volume ]; then stat -c '%a %n' "${2%%:*}"/* >"$HERE/mounted"; fi
      shift
    done
    ;;
esac
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A machine with these scripts and a docker that writes down what it is asked."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(PROJECT_DIR / "scripts" / "appliance", tmp_path / "scripts")
    shutil.copytree(PROJECT_DIR / "scripts" / "host", tmp_path / "scripts" / "host")
    docker = tmp_path / "docker"
    docker.write_text(_DOCKER)
    docker.chmod(0o755)
    (tmp_path / "running").write_text("")
    (tmp_path / "key.txt").write_text("the key")
    backup = tmp_path / "earshot-x.age"
    backup.write_text("sealed")
    backup.chmod(0o600)
    return tmp_path


def restore(host: Path, *given: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(host / "scripts" / "appliance"), "backup", "restore", *given], cwd=host, input=stdin,
        env={**os.environ, "PATH": f"{host}:{os.environ['PATH']}", "HERE": str(host)},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_the_file_and_the_key_go_in(host: Path) -> None:
    done = restore(host, "earshot-x.age", "--identity", "key.txt")
    assert done.returncode == 0, done.stderr
    asked = (host / "asked").read_text()
    assert asked.startswith("compose run --rm --no-deps -T --volume ")
    assert asked.endswith(
        ":/restore:ro earshot appliance backup restore /restore/earshot-x.age --identity -\n"
    )
    assert (host / "stdin").read_text() == "the key"
    mode, path = (host / "mounted").read_text().split()
    assert mode == "644"
    assert not Path(path).parent.exists()
    assert not (host / "running").read_text()


def test_a_name_in_the_volume_needs_no_file_here(host: Path) -> None:
    done = restore(host, "--identity=-", "earshot-20261121T030000Z.age", stdin="typed")
    assert done.returncode == 0, done.stderr
    assert "--volume" not in (host / "asked").read_text()
    assert (host / "stdin").read_text() == "typed"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("earshot-x.age",), "Usage"),
        (("--identity", "key.txt"), "Usage"),
        (("earshot-x.age", "--identity"), "Usage"),
        (("earshot-x.age", "--identity", "none.txt"), "none.txt cannot be read"),
        (("a", "b", "--identity", "key.txt"), "Usage"),
    ],
)
def test_what_is_missing_is_said(host: Path, given: tuple[str, ...], said: str) -> None:
    done = restore(host, *given)
    assert (done.returncode, (host / "asked").exists()) == (2, False)
    assert said in done.stderr


def test_a_box_that_runs_is_left_alone(host: Path) -> None:
    (host / "running").write_text("4f2a\n")
    done = restore(host, "earshot-x.age", "--identity", "key.txt")
    assert done.returncode == 1
    assert "stop it first" in done.stderr
    assert not (host / "asked").exists()
