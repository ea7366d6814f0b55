"""Who may import whom: the design's rules, read from the source."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
SOURCES = sorted(p for top in ("appliance", "services") for p in (ROOT / top).rglob("*.py"))
# A model library belongs to one service, which imports it when it is needed and not before.
MODEL_LIBRARIES = {
    "faster_whisper": "services/stt",
    "ctranslate2": "services/stt",
    "llama_cpp": "services/llm",
    "piper": "services/tts",
}
KEPT_TO = {
    "livekit.agents": ("services/agent",),
    "livekit.plugins": ("services/agent",),
    "fastapi": ("services/panel", "appliance/serving"),
}
FOUNDATION = {
    "errors": set[str](),
    "audio": {"appliance.errors"},
    "settings": {"appliance.errors", "appliance.seal_switches", "appliance.setting_groups"},
}
# Needed without an import: FastAPI's forms, and a program that is started.
NEVER_IMPORTED = {"python-multipart", "supervisor"}
LONGEST_FILE = 400


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Dotted names a file imports, and whether that happens inside a function."""
    tree = ast.parse(path.read_text())
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    late = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((name, id(node) in late) for name in names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


ALL_IMPORTS = [(place(path), name, late) for path in SOURCES for name, late in imports(path)]


def test_there_is_something_to_look_at() -> None:
    assert len(ALL_IMPORTS) > 100


def test_what_is_shared_never_imports_a_service() -> None:
    assert [
        i for i in ALL_IMPORTS if i[0].startswith("appliance/") and within(i[1], "services")
    ] == []


def test_no_service_imports_another() -> None:
    wrong = [
        (where, name)
        for where, name, _ in ALL_IMPORTS
        if where.startswith("services/")
        and within(name, "services")
        and name.split(".")[1] != where.split("/")[1]
    ]
    assert wrong == []


@pytest.mark.parametrize(("module", "allowed"), FOUNDATION.items())
def test_the_foundation_stands_on_nothing_of_ours(module: str, allowed: set[str]) -> None:
    ours = [
        n for where, n, _ in ALL_IMPORTS if where == f"appliance/{module}.py" if "appliance" in n
    ]
    assert [name for name in ours if not any(within(name, ok) for ok in allowed)] == []


@pytest.mark.parametrize(("library", "home"), MODEL_LIBRARIES.items())
def test_a_model_library_is_imported_late_and_in_one_folder(library: str, home: str) -> None:
    found = [(where, late) for where, name, late in ALL_IMPORTS if within(name, library)]
    assert [f for f in found if not f[0].startswith(home + "/") or not f[1]] == []


@pytest.mark.parametrize(("library", "homes"), KEPT_TO.items())
def test_a_framework_stays_where_it_belongs(library: str, homes: tuple[str, ...]) -> None:
    found = [where for where, name, _ in ALL_IMPORTS if within(name, library)]
    assert [w for w in found if not w.startswith(tuple(f"{home}/" for home in homes))] == []


def test_what_is_imported_is_named_as_needed_and_nothing_else_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bare = (re.split(r"[=\[]", need)[0] for need in project["dependencies"])
    named = {name.replace("_", "-") for name in bare}
    tops = {name.split(".")[0] for _, name, _ in ALL_IMPORTS}
    provided = packages_distributions()
    used = set[str]()
    for top in tops - set(sys.stdlib_module_names) - {"appliance", "services"}:
        packages = {package.lower().replace("_", "-") for package in provided.get(top, [])}
        assert packages & named, f"{top} is imported, and pyproject.toml does not name it"
        used |= packages
    assert named - used == NEVER_IMPORTED


def test_only_settings_reads_the_environment() -> None:
    def reads(path: Path) -> bool:
        tree = ast.parse(path.read_text())
        names = {f"os.{name}" for name in ("environ", "environb", "getenv", "putenv", "unsetenv")}
        return any(
            ast.unparse(n) in names for n in ast.walk(tree) if isinstance(n, ast.Attribute)
        ) or any(
            n.module == "os" and names & {f"os.{alias.name}" for alias in n.names}
            for n in ast.walk(tree)
            if isinstance(n, ast.ImportFrom)
        )

    assert [place(p) for p in SOURCES if reads(p)] == ["appliance/settings.py"]


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name == "__main__.py"], ids=place)
def test_a_program_seals_its_environment_before_any_other_import(path: Path) -> None:
    _docstring, *body = [
        node for node in ast.parse(path.read_text()).body if "__future__" not in ast.unparse(node)
    ]
    assert ast.unparse(body[0]) == "from appliance.settings import seal_environment"
    # A program whose children import it again guards everything that follows.
    first = body[1].body[0] if isinstance(body[1], ast.If) else body[1]
    assert ast.unparse(first) == "seal_environment()"


def test_no_file_is_too_long() -> None:
    tops = ("appliance", "services", "tests", "scripts", "config", "bench")
    kinds = {".py", ".ts", ".mjs", ".css", ".html", ".yaml", ""}
    long = {
        place(path): lines
        for top in tops
        for path in (ROOT / top).rglob("*")
        if path.is_file()
        and path.suffix in kinds
        and path.name != "LICENSE"
        and not {"node_modules", "dist"} & set(path.parts)
        if (lines := path.read_text(errors="replace").count("\n")) > LONGEST_FILE
    }
    assert long == {}
