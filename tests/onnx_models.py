"""Small ONNX models built as Piper's voices are, written without the onnx package."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HOP = 4
_CHANNELS = 4
_FLOAT, _INT64 = 1, 7
_PHONEMES = 256


def voice(*, speakers: int = 0, noise: bool = True) -> bytes:
    """A voice that hums: twelve frames a phoneme, four samples a frame.

    Args:
        speakers: 0 for a voice with one; else it is conditioned on ``sid`` in flow and decoder.
        noise: whether it draws its frames at random, as every real one does.
    """
    rng = np.random.default_rng(1)

    def weight(name: str, *shape: int) -> bytes:
        return _weight(name, (rng.standard_normal(shape) * 0.3).astype(np.float32))

    weights = [
        weight("letters", _PHONEMES, _CHANNELS),
        weight("flow.weight", _CHANNELS, _CHANNELS, 5),
        weight("pre.weight", _CHANNELS, _CHANNELS, 7),
        weight("up.weight", _CHANNELS, _CHANNELS, 2 * HOP),
        weight("post.weight", 1, _CHANNELS, 7),
        _weight("zero", np.zeros(1, np.float32)),
        _weight("one", np.ones(1, np.float32)),
        _weight("longer", np.array([1, 1, 12], np.int64)),
    ]
    nodes = [
        _node("Gather", ["letters", "input"], "embedded"),
        _node("Transpose", ["embedded"], "letter_means", perm=[0, 2, 1]),
        _node("Tile", ["letter_means", "longer"], "means"),
        _node("ReduceMean", ["means"], "middle", axes=[1]),
        _node("Mul", ["middle", "zero"], "nothing"),
        _node("Add", ["nothing", "one"], "mask"),
    ]
    draws = "means"
    if noise:
        draws = "draws"
        weights.append(_weight("first", np.zeros(1, np.int64)))
        nodes += [
            _node("RandomNormalLike", ["means"], "noise"),
            _node("Gather", ["scales", "first"], "scale"),
            _node("Mul", ["noise", "scale"], "scaled"),
            _node("Add", ["means", "scaled"], "draws"),
        ]
    moved, prepared = "moved", "prepared"
    if speakers:
        weights.append(weight("speakers", speakers, _CHANNELS))
        weights.append(_weight("last", np.array([-1], np.int64)))
        nodes += [
            _node("Gather", ["speakers", "sid"], "speaker_row"),
            _node("Unsqueeze", ["speaker_row", "last"], "speaker"),
        ]
    nodes.append(_node("Conv", [draws, "flow.weight"], moved, pads=[2, 2]))
    if speakers:
        nodes.append(_node("Add", [moved, "speaker"], "moved_as"))
        moved = "moved_as"
    nodes += [
        _node("Mul", [moved, "mask"], "frames"),
        _node("Conv", ["frames", "pre.weight"], prepared, pads=[3, 3]),
    ]
    if speakers:
        nodes.append(_node("Add", [prepared, "speaker"], "prepared_as"))
        prepared = "prepared_as"
    nodes += [
        _node("LeakyRelu", [prepared], "bent"),
        _node("ConvTranspose", ["bent", "up.weight"], "up", strides=[HOP], pads=[2, 2]),
        _node("LeakyRelu", ["up"], "bent_up"),
        _node("Conv", ["bent_up", "post.weight"], "sum", pads=[3, 3]),
        _node("Tanh", ["sum"], "output"),
    ]
    inputs = [_value("input", _INT64, 2), _value("input_lengths", _INT64, 1)]
    inputs.append(_value("scales", _FLOAT, 1))
    if speakers:
        inputs.append(_value("sid", _INT64, 1))
    graph = b"".join(
        [
            *(_field(1, node) for node in nodes),
            _field(2, b"hum"),
            *(_field(5, made) for made in weights),
            *(_field(11, value) for value in inputs),
            _field(12, _value("output", _FLOAT, 3)),
        ]
    )
    opset = _field(1, b"") + _count(2, 15)
    return _count(1, 8) + _field(7, graph) + _field(8, opset)


def _node(op: str, inputs: list[str], output: str, **attributes: list[int]) -> bytes:
    parts = [_field(1, name.encode()) for name in inputs]
    parts += [_field(2, output.encode()), _field(4, op.encode())]
    for name, numbers in attributes.items():
        ints = b"".join(_count(8, number) for number in numbers)
        parts.append(_field(5, _field(1, name.encode()) + ints + _count(20, 7)))
    return b"".join(parts)


def _weight(name: str, array: NDArray[np.float32] | NDArray[np.int64]) -> bytes:
    kind = _FLOAT if array.dtype == np.float32 else _INT64
    dims = b"".join(_count(1, size) for size in array.shape)
    return dims + _count(2, kind) + _field(8, name.encode()) + _field(9, array.tobytes())


def _value(name: str, kind: int, rank: int) -> bytes:
    shape = b"".join(_field(1, _field(2, f"{name}{axis}".encode())) for axis in range(rank))
    tensor = _count(1, kind) + _field(2, shape)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _count(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
