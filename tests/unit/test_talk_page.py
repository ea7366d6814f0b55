"""The page's own modules, by node's test runner, and what its template may not hold."""

from __future__ import annotations

import gzip
import re
import subprocess
from pathlib import Path

import pytest

from appliance.settings import PROJECT_DIR, Settings
from services.panel.pages.talk import answerers

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


def test_every_element_that_the_script_looks_for_is_in_the_template() -> None:
    html = (PANEL / "templates" / "_talk.html").read_text(encoding="utf-8")
    wanted = set()
    for name in ("view", "soundpanel", "feedback", "waterfallview", "entries/talk"):
        script = (PANEL / "web" / "src" / f"{name}.ts").read_text(encoding="utf-8")
        wanted |= set(re.findall(r'(?:element|optional)(?:<\w+>)?\("([\w-]+)"\)', script))
    assert len(wanted) > 25
    assert wanted <= set(re.findall(r'id="([\w-]+)"', html))


@pytest.mark.parametrize(
    "name",
    [
        "templates/talk.html", "templates/_talk.html", "static/orb.css", "static/talk.css",
        "static/talkparts.css", "static/icon.svg",
    ],
)  # fmt: skip
def test_nothing_points_outside(name: str) -> None:
    text = Path(PANEL / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "//" not in re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    assert "url(" not in text
    assert "@import" not in text


def test_all_scripts_together_are_small() -> None:
    subprocess.run(
        ["npm", "run", "--silent", "build"], cwd=PROJECT_DIR, timeout=50, check=True,
        stdin=subprocess.DEVNULL, capture_output=True,
    )  # fmt: skip
    scripts = list((PANEL / "static" / "dist").glob("*.js"))
    assert {"talk.js", "panel.js"} <= {path.name for path in scripts}
    total = sum(len(gzip.compress(path.read_bytes())) for path in scripts)
    assert total <= 350_000, f"{total} bytes gzipped"


def test_the_page_offers_who_can_answer(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    own = tmp_path / "personas"
    own.mkdir()
    write = "name: {0}\ntitle: {1}\ninstructions: Answer shortly.\n{2}\n".format
    (own / "nurse.yaml").write_text(write("nurse", "Anna", "keep_transcript: false"))
    (own / "absent.yaml").write_text(write("absent", "Absent", "voice: no-such-voice"))
    (own / "broken.yaml").write_text("name: [")
    found = answerers(settings)
    assert [one.name for one in found] == ["default", "nurse"]
    assert "days" in found[0].retention
    assert found[1].title == "Anna"
    assert "Neither the words nor the sound" in found[1].retention
