"""CUDA's libraries that came as Python packages: loaded by hand, because no loader looks there."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

WHISPER = ("libcublasLt.so.12", "libcublas.so.12")
"""What CTranslate2 opens by name when it first computes on a card."""
LLAMA = ("libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13")
"""What llama.cpp is linked with when set-up has compiled it for the card that is there."""


def preload(names: tuple[str, ...]) -> str:
    """Load these, each after what it needs itself; who opens them by name then gets these.

    Returns:
        The first that is nowhere to be found or cannot be loaded; empty if all are loaded.
    """
    for name in names:
        try:
            ctypes.CDLL(str(_packaged(name) or name), mode=ctypes.RTLD_GLOBAL)
        except OSError:
            return name
    return ""


def has_llama() -> bool:
    """Whether llama.cpp, as it is installed here, was compiled for cards; it is not loaded."""
    spec = importlib.util.find_spec("llama_cpp")
    home = Path(spec.origin).parent if spec and spec.origin else None
    return home is not None and (home / "lib" / "libggml-cuda.so").is_file()


def _packaged(name: str) -> Path | None:
    """Where a package of NVIDIA's holds this library."""
    spec = importlib.util.find_spec("nvidia")
    # Its packages share one folder, which is nobody's package.
    roots = spec.submodule_search_locations if spec else None
    found = (path for root in roots or () for path in sorted(Path(root).glob(f"*/lib/{name}")))
    return next(found, None)
