"""What the pages of docs/ and the README point at is there."""

from __future__ import annotations

import re

import pytest

from appliance.settings import PROJECT_DIR

pytestmark = pytest.mark.unit

_PAGES = [PROJECT_DIR / "README.md", *sorted((PROJECT_DIR / "docs").glob("*.md"))]


def test_every_picture_and_page_that_is_pointed_at_is_there() -> None:
    found, missing = 0, []
    for page in _PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:|#", target):
                continue
            found += 1
            if not (page.parent / target.partition("#")[0]).exists():
                missing.append(f"{page.name}: {target}")
    assert found > 10
    assert missing == []


def test_every_picture_is_shown_somewhere() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in _PAGES)
    pictures = sorted((PROJECT_DIR / "docs" / "pictures").glob("*.png"))
    assert [path.name for path in pictures if f"pictures/{path.name}" not in text] == []
    assert all(path.stat().st_size < 100_000 for path in pictures)
