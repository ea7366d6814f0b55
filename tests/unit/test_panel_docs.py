"""docs/api.md names every address the panel serves, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.settings import PROJECT_DIR
from services.panel.app import create_app
from tests.panel_app import box_settings, routes

pytestmark = pytest.mark.unit


def test_every_route_is_documented(tmp_path: Path) -> None:
    text = (PROJECT_DIR / "docs" / "api.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^### `([A-Z]+) ([^?`]+)", text, flags=re.MULTILINE))
    assert documented == set(routes(create_app(box_settings(tmp_path / "data"))))


def test_its_links_lead_somewhere() -> None:
    docs = PROJECT_DIR / "docs"
    text = (docs / "api.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert (docs / target).is_file(), target
