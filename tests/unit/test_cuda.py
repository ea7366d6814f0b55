"""CUDA's libraries out of the Python packages: found by file, open to whoever asks by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.cuda import has_llama, preload

pytestmark = pytest.mark.unit

_LOOK = """
import ctypes, sys
sys.path.insert(0, sys.argv[1])
from appliance.cuda import preload
missing = preload(("libearshot-needed.so.7", "libearshot-made.so.7"))
# As a library opens another one: by name, with no path.
print(repr(missing), missing or ctypes.CDLL("libearshot-made.so.7").answer())
"""


def compiled(folder: Path, name: str, text: str, *flags: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "made.c"
    source.write_text(text)
    command: list[str | Path] = [
        "cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", folder / name, source, *flags,
    ]  # fmt: skip
    subprocess.run(command, check=True)


def look(packages: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _LOOK, packages], text=True, capture_output=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    return done.stdout.strip()


def test_a_packaged_library_is_open_by_its_name_with_what_it_needs(tmp_path: Path) -> None:
    assert look(tmp_path) == "'libearshot-needed.so.7' libearshot-needed.so.7"
    # As NVIDIA's packages lie: several of them share the folder nvidia, which has no __init__.
    first, second = (tmp_path / "nvidia" / name / "lib" for name in ("cu13", "cublas"))
    compiled(first, "libearshot-needed.so.7", "int needed(void) { return 41; }")
    compiled(
        second, "libearshot-made.so.7", "int needed(void); int answer(void) { return needed() + 1; }",
        "-L" + str(first), "-l:libearshot-needed.so.7",
    )  # fmt: skip
    assert look(tmp_path) == "'' 42"


def test_what_cannot_be_loaded_is_named() -> None:
    assert preload(("libc.so.6", "libearshot-nowhere.so.1")) == "libearshot-nowhere.so.1"
    assert preload(("libc.so.6",)) == ""


def test_what_llama_was_compiled_for_is_seen_without_loading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "llama_cpp"
    (package / "lib").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('it is loaded')")
    monkeypatch.delitem(sys.modules, "llama_cpp", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert not has_llama()
    (package / "lib/libggml-cuda.so").touch()
    assert has_llama()
