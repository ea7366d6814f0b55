"""A box of its own for the proof: the owner's settings and models, and nothing else of the owner's."""

from __future__ import annotations

import shutil
from pathlib import Path

from appliance.catalogue.lock import LOCK_NAME
from appliance.catalogue.selection import SELECTION_NAME
from appliance.settings import Settings, sealed_environment

_MODEL_FILES = (".gguf", ".onnx")


def environment(settings: Settings, folder: Path, node_ip: str) -> dict[str, str]:
    """The environment of a box in this folder, which is made ready for it.

    Args:
        settings: the owner's.
        folder: an empty one.
        node_ip: the address at which callers reach the box there.
    """
    data = folder / "data"
    data.mkdir(mode=0o700)
    if settings.settings_file.exists():
        shutil.copy(settings.settings_file, data)
    personas = settings.data_dir / "personas"
    if personas.is_dir():
        shutil.copytree(personas, data / "personas")
    models = folder / "models"
    _link_models(settings.models_path, models)
    wanted = sealed_environment() | {
        "APPLIANCE_DATA_DIR": str(data),
        # The owner's store is not to see this call, nor this panel the owner's calls.
        "APPLIANCE_DATABASE_URL": f"sqlite:///{data / 'appliance.db'}",
        "EARSHOT_SEAL_LOG": str(folder / "refused.txt"),
        "APPLIANCE_MODELS_DIR": str(models),
        "APPLIANCE_LIVEKIT__NODE_IP": node_ip,
    }
    wanted.pop("XDG_RUNTIME_DIR", None)
    return wanted


def _link_models(theirs: Path, ours: Path) -> None:
    """The owner's models, where another choice among them does not become the owner's."""
    ours.mkdir(mode=0o700)
    if not theirs.is_dir():
        return
    for path in theirs.iterdir():
        if path.is_dir() and not path.name.startswith("."):
            (ours / path.name).symlink_to(path.resolve())
        elif path.name in (SELECTION_NAME, LOCK_NAME):
            shutil.copy(path, ours)
    if any(path.suffix in _MODEL_FILES for path in theirs.iterdir()):
        # A model's id is its file's name, whatever the folder is called.
        (ours / "in-the-models-folder").symlink_to(theirs.resolve())
