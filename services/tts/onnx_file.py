"""The parts of an ONNX file that a cut needs, read and written as protobuf's wire format.

The ``onnx`` package would do it too; it is large, and this is all that is wanted of it.
Field numbers are those of onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

FLOAT = 1
"""TensorProto.DataType.FLOAT."""


class _Model(IntEnum):
    GRAPH = 7
    METADATA = 14


class _Graph(IntEnum):
    NODE = 1
    NAME = 2
    WEIGHT = 5
    INPUT = 11
    OUTPUT = 12


_NODE_INPUT, _NODE_OUTPUT, _NODE_OP, _NODE_ATTRIBUTE = 1, 2, 4, 5
_ATTRIBUTE_GRAPHS = (6, 11)
_WEIGHT_NAME, _WEIGHT_PLACE = 8, 14
_VALUE_NAME, _VALUE_TYPE = 1, 2
_BYTES, _VARINT = 2, 0
_FIXED = {1: 8, 5: 4}


class NotOnnx(ValueError):
    """The bytes are no ONNX model, or one of a kind that is not known here."""


@dataclass(frozen=True)
class Node:
    """One operation and the names of the tensors that go in and come out."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    has_graph: bool
    """Whether it holds a graph of its own, which may read any tensor."""
    raw: memoryview


@dataclass(frozen=True)
class OnnxModel:
    """A model in its parts. They are views into the bytes it was read from."""

    head: bytes
    """Versions and operator sets, as they are written."""
    nodes: tuple[Node, ...]
    """In an order in which they can be run."""
    weights: dict[str, memoryview]
    inputs: dict[str, memoryview]
    outputs: dict[str, memoryview]

    @classmethod
    def read(cls, data: bytes) -> OnnxModel:
        """Take a file apart.

        Raises:
            NotOnnx: it is not an ONNX model, or its weights lie in other files.
        """
        try:
            return cls._read(memoryview(data))
        except (IndexError, UnicodeDecodeError) as error:
            raise NotOnnx("cut short or not protobuf") from error

    @classmethod
    def _read(cls, data: memoryview) -> OnnxModel:
        head, graph = bytearray(), None
        for field, value, whole in _fields(data):
            if field == _Model.GRAPH:
                graph = value
            elif field != _Model.METADATA:
                head += whole
        if not isinstance(graph, memoryview):
            raise NotOnnx("no graph")
        nodes: list[Node] = []
        named: dict[int, dict[str, memoryview]] = {
            _Graph.WEIGHT: {}, _Graph.INPUT: {}, _Graph.OUTPUT: {},
        }  # fmt: skip
        for field, value, _whole in _fields(graph):
            if field == _Graph.NODE and isinstance(value, memoryview):
                nodes.append(_node(value))
            elif field in named and isinstance(value, memoryview):
                name_field = _WEIGHT_NAME if field == _Graph.WEIGHT else _VALUE_NAME
                named[field][_name(value, name_field)] = value
        return cls(
            bytes(head), tuple(nodes), named[_Graph.WEIGHT], named[_Graph.INPUT],
            named[_Graph.OUTPUT],
        )  # fmt: skip

    def part(self, nodes: Iterable[Node], inputs: Iterable[str], outputs: Iterable[str]) -> bytes:
        """A model of some of the nodes, with the weights that they read.

        Inputs that the whole model does not have are float32 of any shape.
        """
        kept = list(nodes)
        read = {name for node in kept for name in node.inputs}
        graph = [_tagged(_Graph.NODE, node.raw) for node in kept]
        graph.append(_tagged(_Graph.NAME, b"part"))
        graph += [_tagged(_Graph.WEIGHT, raw) for name, raw in self.weights.items() if name in read]
        for name in inputs:
            graph.append(_tagged(_Graph.INPUT, self.inputs.get(name) or _float_value(name)))
        for name in outputs:
            graph.append(_tagged(_Graph.OUTPUT, self.outputs.get(name) or _float_value(name)))
        return self.head + _tagged(_Model.GRAPH, b"".join(graph))


def _node(raw: memoryview) -> Node:
    inputs: list[str] = []
    outputs: list[str] = []
    op, has_graph = "", False
    for field, value, _whole in _fields(raw):
        if not isinstance(value, memoryview):
            continue
        if field == _NODE_INPUT:
            inputs.append(str(value, "utf-8"))
        elif field == _NODE_OUTPUT:
            outputs.append(str(value, "utf-8"))
        elif field == _NODE_OP:
            op = str(value, "utf-8")
        elif field == _NODE_ATTRIBUTE:
            has_graph = has_graph or any(f in _ATTRIBUTE_GRAPHS for f, _v, _w in _fields(value))
    return Node(op, tuple(inputs), tuple(outputs), has_graph, raw)


def _name(raw: memoryview, name_field: int) -> str:
    name = ""
    for field, value, _whole in _fields(raw):
        if field == name_field and isinstance(value, memoryview):
            name = str(value, "utf-8")
        elif name_field == _WEIGHT_NAME and field == _WEIGHT_PLACE and value:
            raise NotOnnx("weights in another file")
    return name


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int, memoryview]]:
    """Number, value, and both as they are written, of each field of a message."""
    at, end = 0, len(data)
    while at < end:
        start = at
        tag, at = _varint(data, at)
        kind = tag & 7
        value: memoryview | int
        if kind == _VARINT:
            value, at = _varint(data, at)
        elif kind == _BYTES:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        elif kind in _FIXED:
            value, at = data[at : at + _FIXED[kind]], at + _FIXED[kind]
        else:
            raise NotOnnx("unknown kind of field")
        if at > end:
            raise NotOnnx("cut short")
        yield tag >> 3, value, data[start:at]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _tagged(field: int, value: bytes | memoryview) -> bytes:
    return b"".join((_number(field << 3 | _BYTES), _number(len(value)), value))


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _float_value(name: str) -> bytes:
    element = _number(1 << 3 | _VARINT) + _number(FLOAT)
    kind = _tagged(1, element)
    return _tagged(_VALUE_NAME, name.encode()) + _tagged(_VALUE_TYPE, kind)
