"""The page's own modules, by node's test runner, and what its template may not hold."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from appliance.settings import PROJECT_DIR

pytestmark = pytest.mark.unit

PANEL = PROJECT_DIR / "services" / "panel"


def test_the_modules_pass_their_own_tests() -> None:
    done = subprocess.run(
        ["npm", "run", "--silent", "test"], cwd=PROJECT_DIR, text=True, capture_output=True,
        timeout=50, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "# fail 0" in done.stdout
    assert "# tests 0" not in done.stdout


def test_every_element_that_the_view_looks_for_is_in_the_template() -> None:
    html = (PANEL / "templates" / "talk.html").read_text(encoding="utf-8")
    view = (PANEL / "web" / "src" / "view.ts").read_text(encoding="utf-8")
    wanted = set(re.findall(r'element(?:<\w+>)?\("([\w-]+)"\)', view))
    assert len(wanted) > 10
    assert wanted <= set(re.findall(r'id="([\w-]+)"', html))


@pytest.mark.parametrize(
    "name", ["templates/talk.html", "static/orb.css", "static/talk.css", "static/icon.svg"]
)
def test_nothing_points_outside(name: str) -> None:
    text = Path(PANEL / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "//" not in re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    assert "url(" not in text
    assert "@import" not in text
