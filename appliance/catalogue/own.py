"""The owner's own models: files dropped into the models folder, found by their shape."""

from __future__ import annotations

from pathlib import Path

from appliance.catalogue.entries import ModelEntry, ModelFile, Task

_WHISPER = {"model.bin": "model", "config.json": "config", "tokenizer.json": "tokenizer"}
_WHISPER_MORE = {
    "vocabulary.txt": "vocabulary",
    "vocabulary.json": "vocabulary",
    "preprocessor_config.json": "preprocessor",
}


def plain_file(folder: Path, name: str) -> Path | None:
    """The regular file of this name, unless it is absent, a pipe, or a link out of the folder."""
    path = folder / name
    if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
        return path
    return None


def scan(root: Path) -> list[tuple[ModelEntry, Path]]:
    """Own models with the folder their files lie in: in the root, or one folder deep.

    A model's id is its file's stem; a Whisper's is its folder's name.
    """
    if not root.is_dir():
        return []
    found = _in_folder(root)
    for folder in sorted(root.iterdir()):
        if folder.is_dir() and not folder.name.startswith("."):
            whisper = _whisper(folder)
            found += [(whisper, folder)] if whisper else _in_folder(folder)
    return found


def _in_folder(folder: Path) -> list[tuple[ModelEntry, Path]]:
    found: list[tuple[ModelEntry, Path]] = []
    for path in sorted(folder.iterdir()):
        name = path.name
        if name.startswith(".") or plain_file(folder, name) is None:
            continue
        if name.endswith(".gguf"):
            entry = _entry(name.removesuffix(".gguf"), "llm", folder, {name: "model"})
        elif name.endswith(".onnx") and plain_file(folder, f"{name}.json"):
            files = {name: "model", f"{name}.json": "config"}
            entry = _entry(name.removesuffix(".onnx"), "tts", folder, files)
        else:
            continue
        if entry:
            found.append((entry, folder))
    return found


def _whisper(folder: Path) -> ModelEntry | None:
    if not all(plain_file(folder, name) for name in _WHISPER):
        return None
    more = {name: role for name, role in _WHISPER_MORE.items() if plain_file(folder, name)}
    files = {**_WHISPER, **more}
    if list(files.values()).count("vocabulary") > 1:
        del files["vocabulary.txt"]
    return _entry(folder.name, "stt", folder, files)


def _entry(model_id: str, task: Task, folder: Path, files: dict[str, str]) -> ModelEntry | None:
    try:
        return ModelEntry(
            id=model_id, task=task, title=model_id, licence="unknown", languages=["unknown"],
            files=[
                # An empty file has no positive size; the engine's own check names it.
                ModelFile(name=name, role=role, size=(folder / name).stat().st_size or None)
                for name, role in files.items()
            ],
        )  # fmt: skip
    except ValueError:
        # A name that cannot be an id (spaces, accents) is left out; `models list` has no row for it.
        return None
