"""Where the image's source archives are fetched from."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def sources() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sources", ROOT / "docker/build/sources.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sources.list", "# ours\ndeb http://mirror.test/debian bookworm main\n"),
        ("sources.list", "deb [signed-by=/key.gpg] http://mirror.test/debian bookworm main\n"),
        ("sources.list.d/debian.sources", "Types: deb\nURIs: http://mirror.test/debian\n"),
    ],
)
def test_the_mirror_is_the_one_that_debian_itself_uses(
    sources: ModuleType, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert sources.debian_mirror(tmp_path) == "http://mirror.test/debian"


def test_a_debian_without_a_mirror_is_said(sources: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="DEBIAN_MIRROR"):
        sources.debian_mirror(tmp_path)
