"""The head of a GGUF file, read with a limit on everything. Runs in the reader's child alone."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from appliance.errors import BadInput

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MOST_KEYS = 10_000
_MOST_TENSORS = 100_000
_MOST_ELEMENTS = 8_000_000
_LONGEST_STRING = 8 << 20
_LONGEST_HEAD = 256 << 20
# Longer arrays are vocabularies; only their length is kept.
_KEPT_ELEMENTS = 2048
_MOST_DIMENSIONS = 4
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip
_ALIGNMENT = "general.alignment"


class Length(NamedTuple):
    """An array that was too long to keep."""

    elements: int


class Head(NamedTuple):
    """What a GGUF file says before its tensors' data."""

    values: dict[str, Any]
    tensors: dict[str, int]
    """Bytes by tensor."""
    missing_bytes: int
    """How much of the tensors' data the file lacks; 0 in a whole one."""


def read_head(path: Path) -> Head:
    """Read one file's head.

    Raises:
        BadInput: it is no GGUF file, or its head is damaged or absurd.
    """
    with path.open("rb") as file:
        return _Reader(file, path.stat().st_size, path.name).head()


class _Reader:
    def __init__(self, file: BinaryIO, size: int, name: str) -> None:
        self._file = file
        self._size = size
        self._name = name

    def head(self) -> Head:
        if self._take(4) != _MAGIC:
            raise BadInput(
                "not_gguf", f"{self._name} is not a GGUF file.", "Choose a file that ends in .gguf."
            )
        if self._number("<I") not in _VERSIONS:
            raise self._broken("its version is unknown")
        tensor_count = self._limited(self._number("<Q"), _MOST_TENSORS, "tensors")
        key_count = self._limited(self._number("<Q"), _MOST_KEYS, "keys")
        values: dict[str, Any] = {}
        for _ in range(key_count):
            key = self._text()
            values[key] = self._value(self._number("<I"))
        return self._with_tensors(values, tensor_count)

    def _with_tensors(self, values: dict[str, Any], count: int) -> Head:
        sizes: dict[str, int] = {}
        end = 0
        for _ in range(count):
            name = self._text()
            dimensions = self._limited(self._number("<I"), _MOST_DIMENSIONS, "dimensions")
            elements = math.prod(self._number("<Q") for _ in range(dimensions))
            size = self._tensor_bytes(elements, self._number("<I"))
            end = max(end, self._number("<Q") + size)
            if name in sizes:
                raise self._broken("it names a tensor twice")
            sizes[name] = size
        alignment = values.get(_ALIGNMENT, 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
            raise self._broken("its alignment is impossible")
        start = -(-self._file.tell() // alignment) * alignment
        return Head(values, sizes, max(0, start + end - self._size))

    def _tensor_bytes(self, elements: int, kind: int) -> int:
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        try:
            block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        except (ValueError, KeyError) as error:
            raise self._broken(f"a tensor is of the unknown kind {kind}") from error
        return -(-elements // block) * size

    def _value(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self._number(_SCALARS[kind])
        if kind == _STRING:
            return self._text()
        if kind != _ARRAY:
            raise self._broken(f"a value is of the unknown kind {kind}")
        inner = self._number("<I")
        count = self._limited(self._number("<Q"), _MOST_ELEMENTS, "elements")
        if inner not in _SCALARS:
            if inner != _STRING:
                raise self._broken("it has an array of arrays")
            for _ in range(count):
                self._take(self._limited(self._number("<Q"), _LONGEST_STRING, "letters"))
            return Length(count)
        width = struct.calcsize(_SCALARS[inner])
        raw = self._take(count * width)
        if count > _KEPT_ELEMENTS:
            return Length(count)
        return [value for (value,) in struct.iter_unpack(_SCALARS[inner], raw)]

    def _text(self) -> str:
        length = self._limited(self._number("<Q"), _LONGEST_STRING, "letters")
        return self._take(length).decode("utf-8", "replace")

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _take(self, length: int) -> bytes:
        if self._file.tell() + length > _LONGEST_HEAD:
            raise self._broken("its head is far too long")
        taken = self._file.read(length)
        if len(taken) != length:
            raise self._broken("it ends in the middle of its head")
        return taken

    def _limited(self, value: int, most: int, what: str) -> int:
        if value > most:
            raise self._broken(f"it claims {value} {what}")
        return value

    def _broken(self, why: str) -> BadInput:
        return BadInput(
            "model_damaged", f"{self._name} is damaged: {why}.", "Fetch or copy the file again."
        )
