"""The pages of the HTTP API name every address the panel serves, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.settings import PROJECT_DIR
from services.panel.app import create_app
from tests.panel_app import box_settings, routes

pytestmark = pytest.mark.unit


def test_every_route_is_documented(tmp_path: Path) -> None:
    pages = sorted((PROJECT_DIR / "docs").glob("api*.md"))
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    documented = set(re.findall(r"^### `([A-Z]+) ([^?`]+)", text, flags=re.MULTILINE))
    assert documented == set(routes(create_app(box_settings(tmp_path / "data"))))
