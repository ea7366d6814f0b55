"""Where a Piper voice can be cut so that its sound can be made piece by piece.

A Piper voice is a VITS model in one graph: text encoder and durations, then one random draw for
each frame of sound (``z_p``), then a flow that turns the draws into frames, then a decoder that
turns frames into samples. Only the first part needs the whole sentence; the others are
convolutions that look a few frames to the left and right. Found by structure: names differ
between exporters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from services.tts.onnx_file import Node, NotOnnx, OnnxModel


@dataclass(frozen=True)
class Stage:
    """A part of the voice as a model of its own."""

    model: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Cut:
    """A voice in three stages; the first input of the later ones is what is cut into pieces."""

    prior: Stage
    """Phonemes to draws; its outputs are all that the later stages read of it."""
    flow: Stage
    """Draws to frames."""
    decoder: Stage
    """Frames to samples."""


def cut(data: bytes) -> Cut:
    """Cut a voice's ONNX file.

    Raises:
        NotOnnx: it is not built as Piper's voices are.
    """
    model = OnnxModel.read(data)
    if len(model.outputs) < 1:
        raise NotOnnx("no output")
    sound = next(iter(model.outputs))
    maker = {name: node for node in model.nodes for name in node.outputs}
    draws, frames = _draws(model.nodes), _frames(model.nodes, maker)
    decoder = _between(model, frames, sound)
    flow = _between(model, draws, frames)
    made_later = {name for node in (*decoder, *flow) for name in node.outputs}
    flow_reads = _read_from_outside(model, flow, draws)
    decoder_reads = _read_from_outside(model, decoder, frames)
    if any(name in made_later for name in decoder_reads[1:]) or frames in flow_reads:
        raise NotOnnx("the stages hang together in more than one place")
    handed_on = tuple(dict.fromkeys((*flow_reads, *decoder_reads[1:])))
    prior = [node for node in model.nodes if not made_later.intersection(node.outputs)]
    prior = _needed(prior, handed_on)
    static = _static(model)
    return Cut(
        _stage(model, prior, tuple(model.inputs), handed_on),
        _stage(model, _with(model, flow, static), flow_reads, (frames,)),
        _stage(model, _with(model, decoder, static), decoder_reads, (sound,)),
    )


def _stage(
    model: OnnxModel, nodes: list[Node], inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> Stage:
    return Stage(model.part(nodes, inputs, outputs), inputs, outputs)


def _draws(nodes: tuple[Node, ...]) -> str:
    """The sum of the mean and the scaled noise: the last noise of the graph."""
    at = max((i for i, node in enumerate(nodes) if node.op == "RandomNormalLike"), default=None)
    if at is None:
        raise NotOnnx("no noise")
    follows = set(nodes[at].outputs)
    for node in nodes[at + 1 :]:
        if follows.isdisjoint(node.inputs):
            continue
        if node.op == "Add":
            return node.outputs[0]
        if node.op != "Mul":
            break
        follows.update(node.outputs)
    raise NotOnnx("the noise is not added to a mean")


def _frames(nodes: tuple[Node, ...], maker: dict[str, Node]) -> str:
    """What the decoder's first convolution reads; it comes before the first step up in rate."""
    node = next((node for node in nodes if node.op == "ConvTranspose"), None)
    while node is not None and node.op != "Conv":
        node = maker.get(node.inputs[0])
    if node is None:
        raise NotOnnx("no decoder")
    return node.inputs[0]


def _between(model: OnnxModel, start: str, end: str) -> list[Node]:
    """The nodes that follow from ``start`` and lead to ``end``."""
    follows = {start}
    after = []
    for node in model.nodes:
        if not follows.isdisjoint(node.inputs):
            follows.update(node.outputs)
            after.append(node)
    wanted = {end}
    between: list[Node] = []
    for node in reversed(after):
        if not wanted.isdisjoint(node.outputs):
            wanted.update(node.inputs)
            between.append(node)
    if not between or end not in follows or start not in wanted:
        raise NotOnnx("a stage is missing")
    if any(node.has_graph for node in between):
        raise NotOnnx("a stage holds a graph of its own")
    return between[::-1]


def _read_from_outside(model: OnnxModel, nodes: list[Node], first: str) -> tuple[str, ...]:
    made = {name for node in nodes for name in node.outputs}
    static = {name for node in _static(model) for name in node.outputs}
    read = dict.fromkeys([first])
    for node in nodes:
        for name in node.inputs:
            if name and name not in made and name not in model.weights and name not in static:
                read[name] = None
    return tuple(read)


def _static(model: OnnxModel) -> list[Node]:
    """Nodes whose value is the same for every input."""
    moving = set(model.inputs) - set(model.weights)
    still = []
    for node in model.nodes:
        if node.has_graph or node.op.startswith("Random") or not moving.isdisjoint(node.inputs):
            moving.update(node.outputs)
        else:
            still.append(node)
    return still


def _with(model: OnnxModel, nodes: list[Node], static: list[Node]) -> list[Node]:
    """The nodes and those of the static ones that they need, in the model's order."""
    wanted = {name for node in nodes for name in node.inputs}
    kept = {id(node) for node in nodes}
    for node in reversed(static):
        if not wanted.isdisjoint(node.outputs):
            wanted.update(node.inputs)
            kept.add(id(node))
    return [node for node in model.nodes if id(node) in kept]


def _needed(nodes: list[Node], outputs: Iterable[str]) -> list[Node]:
    if any(node.has_graph for node in nodes):
        return nodes
    wanted = set(outputs)
    needed = []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.outputs):
            wanted.update(node.inputs)
            needed.append(node)
    return needed[::-1]
