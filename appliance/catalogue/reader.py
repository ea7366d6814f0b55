"""Reads a model's metadata with little memory and time, in a process of its own.

A model file may be hostile. Started by ``appliance.catalogue.reading``; prints one JSON line.
"""

from __future__ import annotations

import json
import resource
import struct
import sys
from pathlib import Path

from appliance.catalogue.shape import Shape, shape_of_gguf
from appliance.errors import BadInput

_MEMORY = 1 << 30
_CPU_S = 20
_FILES = 32
_MOST_CONFIG = 4 << 20
_CT2_VERSIONS = range(4, 8)
_CT2_SPEC = b"WhisperSpec\0"
_LEAST_WEIGHTS = 1 << 20
_RATES_HZ = range(8000, 48001)
# How protobuf writes the key under which a tensor names a file outside the model.
_OUTSIDE = b"\x0a\x08location\x12"
_BLOCK = 1 << 20


def limit_self() -> None:
    """Less memory, time and files than any mistake in here could do harm with; nothing is written."""
    for kind, most in (
        (resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_CPU, _CPU_S), (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _FILES), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        resource.setrlimit(kind, (most, most))


def shape_of(task: str, files: dict[str, Path]) -> Shape:
    """The shape of a model of this task.

    Raises:
        BadInput: its files are not what they should be.
    """
    if task == "llm":
        return shape_of_gguf([path for role, path in files.items() if role.startswith("model")])
    if task == "stt":
        return _whisper(files)
    return _voice(files)


def _whisper(files: dict[str, Path]) -> Shape:
    model = files["model"]
    _config(files["config"])
    with model.open("rb") as file:
        head = file.read(6 + len(_CT2_SPEC))
    version, length = struct.unpack("<IH", head[:6]) if len(head) >= 6 else (0, 0)
    whisper = length == len(_CT2_SPEC) and head[6:] == _CT2_SPEC
    if version not in _CT2_VERSIONS or not whisper or model.stat().st_size < _LEAST_WEIGHTS:
        raise BadInput(
            "not_whisper", f"{model.name} is no Whisper model in CTranslate2 format.",
            "Convert it with ct2-transformers-converter, or fetch one from the catalogue.",
        )  # fmt: skip
    return Shape(task="stt", weights=model.stat().st_size, architecture="whisper")


def _voice(files: dict[str, Path]) -> Shape:
    model = files["model"]
    config = _config(files["config"])
    audio, ids = config.get("audio"), config.get("phoneme_id_map")
    rate_hz = audio.get("sample_rate") if isinstance(audio, dict) else None
    if rate_hz not in _RATES_HZ or not isinstance(ids, dict) or not ids:
        raise BadInput(
            "not_piper", f"{files['config'].name} does not describe a Piper voice.",
            "A voice is two files: name.onnx and name.onnx.json.",
        )  # fmt: skip
    _refuse_foreign_onnx(model)
    return Shape(task="tts", weights=model.stat().st_size, architecture="piper")


def _refuse_foreign_onnx(model: Path) -> None:
    with model.open("rb") as file:
        before = file.read(4)
        # The format's first field is its version, a small number.
        if len(before) < 4 or before[0] != 0x08 or model.stat().st_size < _LEAST_WEIGHTS:
            raise BadInput("not_onnx", f"{model.name} is not an ONNX model.")
        while block := file.read(_BLOCK):
            if _OUTSIDE in before + block:
                raise BadInput(
                    "onnx_external", f"{model.name} wants to read other files, which is not allowed.",
                    "Export the voice as one file.",
                )  # fmt: skip
            before = block[-len(_OUTSIDE) :]


def _config(path: Path) -> dict[str, object]:
    if path.stat().st_size > _MOST_CONFIG:
        raise BadInput("config_too_large", f"{path.name} is far too large for a configuration.")
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadInput("config_unreadable", f"{path.name} is not JSON.") from error
    if not isinstance(value, dict):
        raise BadInput("config_unreadable", f"{path.name} is no JSON object.")
    return value


def main() -> int:
    """``reader TASK ROLE=PATH …``: one JSON line, a shape or an error."""
    task, *named = sys.argv[1:]
    files = {role: Path(path) for role, _, path in (item.partition("=") for item in named)}
    if task == "llm":
        # Imported before the limits: numpy alone takes much address space.
        import gguf.constants  # noqa: F401
    limit_self()
    try:
        answer = {"shape": shape_of(task, files).model_dump()}
    except BadInput as error:
        answer = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
