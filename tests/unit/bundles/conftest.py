"""A small bundle, a Docker that only notes what it is asked, and a box installed with both."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes_docker import Docker
from tests.small_bundles import Box, Made, empty_docker, install, make_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A bundle as `bundle create` makes it; not to be changed."""
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    """One that has no image yet."""
    return empty_docker(tmp_path / "bin")


@pytest.fixture
def box(bundle: Made, docker: Docker, tmp_path: Path) -> Box:
    """An installed one."""
    done = install(bundle, docker, tmp_path / "box")
    assert done.returncode == 0, done.stderr
    return Box(tmp_path / "box", docker, bundle)
