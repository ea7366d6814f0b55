"""What the pages are made of: everything they name is there, and nothing of it lies elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.settings import PROJECT_DIR

pytestmark = pytest.mark.unit

PANEL = PROJECT_DIR / "services" / "panel"
TEMPLATES = sorted((PANEL / "templates").glob("*.html"))
STYLES = sorted((PANEL / "static").glob("*.css"))
ENTRIES = {path.stem for path in (PANEL / "web" / "src" / "entries").glob("*.ts")}
# Made by the bundler beside the entries.
BESIDES = {"uplot.css"}


def test_there_is_something_to_look_at() -> None:
    assert len(TEMPLATES) > 5
    assert len(STYLES) > 3


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_page_names_what_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    icons = (PANEL / "static" / "icons.svg").read_text(encoding="utf-8")
    for name in re.findall(r"icons\.svg#([a-z-]+)", text):
        assert f'id="{name}"' in icons, name
    for name in re.findall(r'(?:href|src)="/static/([\w./-]+)"', text):
        if name.startswith("dist/"):
            made = name.removeprefix("dist/")
            assert made in BESIDES or made.removesuffix(".js") in ENTRIES, name
        else:
            assert (PANEL / "static" / name).is_file(), name


def test_every_entry_of_the_navigation_has_its_icon() -> None:
    base = (PANEL / "templates" / "base.html").read_text(encoding="utf-8")
    icons = (PANEL / "static" / "icons.svg").read_text(encoding="utf-8")
    names = re.findall(r'\("(\w+)", "/\w*", "[\w ]+"\)', base)
    assert len(names) == 10
    assert all(f'id="{name}"' in icons for name in names)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_page_holds_no_script_and_no_style_of_its_own(path: Path) -> None:
    text = re.sub(r"\{#.*?#\}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not re.search(r"\sstyle=|\son[a-z]+=|hx-on|javascript:|<style|\|\s*safe\b", text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.name)
def test_a_stylesheet_fetches_nothing(path: Path) -> None:
    text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not re.search(r"//|url\(|@import|expression", text)
