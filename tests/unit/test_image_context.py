"""What reaches a build of the image: named files alone, and what the Dockerfile names is there."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
IGNORE = (ROOT / ".dockerignore").read_text().splitlines()
RULES = [line for line in IGNORE if line and not line.startswith("#")]
DOCKERFILE = (ROOT / "docker/Dockerfile.cuda").read_text().replace("\\\n", " ")


def test_everything_is_left_out_but_what_is_named() -> None:
    assert RULES[0] == "*"
    named = [rule[1:] for rule in RULES if rule.startswith("!")]
    assert [name for name in named if not (ROOT / name).exists()] == []
    for folder in ("data", ".git", ".env", ".venv", ".cache", "tests", "shared", "docs"):
        assert folder not in named


def test_what_is_copied_from_the_tree_is_let_through() -> None:
    named = tuple(rule[1:] for rule in RULES if rule.startswith("!"))
    copied = []
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        copied += shlex.split(line)[:-1]
    assert len(copied) > 10
    for path in copied:
        assert (ROOT / path).exists(), path
        assert path in named or path.startswith(tuple(f"{name}/" for name in named)), path


def test_every_version_in_the_dockerfile_is_one_of_cuda_alone() -> None:
    """Everything else is pinned in the locks and in scripts/setup, once."""
    assert sorted(set(re.findall(r"\d+\.\d+\.\d+", DOCKERFILE))) == ["12.8.1"]


def test_no_layer_keeps_the_authority_of_the_building_machine() -> None:
    runs = re.findall(r"^RUN (.+)$", DOCKERFILE, re.MULTILINE)
    fetching = [line for line in runs if "with-ca" in line]
    assert len(fetching) >= 5
    assert [line for line in fetching if "--mount=type=secret,id=ca" not in line] == []
    assert not re.search(r"(COPY|ADD).*(ca-certificates|\.pem|\.crt)", DOCKERFILE)


def test_the_compose_files_name_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name in ("docker-compose.yml", "docker-compose.cpu.yml"):
        named = re.findall(r"(?:earshot:|VERSION: )(\d[\w.]*)", (ROOT / name).read_text())
        assert named, name
        assert set(named) == {version}, name
