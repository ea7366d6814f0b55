"""Catalogues, wheels and models folders made for one test."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import yaml

from appliance.settings import Settings


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wheel(folder: Path, name: str, members: dict[str, bytes]) -> dict[str, Any]:
    """Write a wheel and return its row for the catalogue."""
    module = name.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    folder.mkdir(exist_ok=True)
    path = folder / f"{module}-1.0-py3-none-any.whl"
    everything = {
        **members,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{member},,\n" for member in everything)
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in {**everything, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(zipfile.ZipInfo(member), content)
    content = path.read_bytes()
    return {"name": name, "version": "1.0", "sha256": sha256(content), "size": len(content)}


def catalogue(path: Path, *models: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump({"models": list(models)}), encoding="utf-8")
    return path


def model(model_id: str, task: str = "tts", **more: Any) -> dict[str, Any]:
    return {
        "id": model_id, "task": task, "title": model_id, "licence": "MIT", "languages": ["en"], **more,
    }  # fmt: skip


def settings(folder: Path, **more: Any) -> Settings:
    """Settings whose folders are all the test's own."""
    return Settings(
        data_dir=folder / "data", builtin_models_dir=folder / "builtin",
        programs_dir=folder / "bin", **more,
    )  # fmt: skip


def put(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
