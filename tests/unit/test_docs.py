"""The pages made from the settings are up to date and complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.cli import docs
from appliance.settings import PROJECT_DIR, setting_fields

pytestmark = pytest.mark.unit


def test_generated_pages_are_not_stale() -> None:
    for path, text in docs.pages().items():
        assert path.is_file(), f"{path} is missing: run `scripts/appliance docs`"
        assert path.read_text(encoding="utf-8") == text, (
            f"{path} is stale: run `scripts/appliance docs`"
        )


def test_every_setting_says_what_it_is() -> None:
    page, example = docs.configuration_page(), docs.env_example()
    for dotted, field in setting_fields():
        assert field.description, dotted
        assert f"| `{dotted}` | `{docs.variable(dotted)}`" in page
        assert f"#{docs.variable(dotted)}=" in example


def test_the_example_says_how_it_is_used() -> None:
    head = "".join(docs.env_example().splitlines()[:2])
    assert "set -a; . ./.env; set +a" in head
    assert "compose" in head


def test_no_path_of_this_machine_is_in_them() -> None:
    for text in docs.pages().values():
        assert str(PROJECT_DIR) not in text
        assert str(Path.home()) not in text
