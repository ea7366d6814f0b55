"""A voice's three stages as they run: a sentence is drawn once, its sound is made in pieces."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.audio import Samples
from services.tts.cutting import Cut, Stage
from services.tts.onnx_file import NotOnnx

Tensors = dict[str, NDArray[Any]]

_PROBE_FRAMES = 160
# One frame more than was seen: the end of a reach may drown in rounding for one probe.
_SPARE_FRAMES = 1


def load_session(model: str | bytes) -> Any:
    """A model as an onnxruntime session whose calls take one core each."""
    import onnxruntime

    # One thread a call: two callers on one two-thread session take 2.3 times as long.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model, sess_options=options, providers=["CPUExecutionProvider"]
    )


class _Runner:
    """One stage, and how many frames to the left and right of a frame it looks."""

    def __init__(self, stage: Stage) -> None:
        self.inputs, self.outputs = stage.inputs, stage.outputs
        self._session = load_session(stage.model)
        self.left = self.right = 0

    def run(self, tensors: Tensors) -> list[NDArray[Any]]:
        """The stage's outputs."""
        fed = {name: tensors[name] for name in self.inputs}
        found: list[NDArray[Any]] = self._session.run(list(self.outputs), fed)
        return found

    def run_part(self, tensors: Tensors, start: int, stop: int) -> NDArray[Any]:
        """What comes of the frames from ``start`` to ``stop``, exactly as in the whole."""
        whole = tensors[self.inputs[0]].shape[-1]
        low, high = max(0, start - self.left), min(whole, stop + self.right)
        # Of the inputs only those along the frames are cut; a speaker's is for all of them.
        part = {
            name: tensors[name][..., low:high]
            if tensors[name].shape[-1] == whole
            else tensors[name]
            for name in self.inputs
        }
        made = self.run(part)[0]
        per_frame = made.shape[-1] // (high - low)
        return made[..., (start - low) * per_frame : (stop - low) * per_frame]

    def find_reach(self, tensors: Tensors) -> None:
        """Nudge one frame and see how far that is felt.

        Raises:
            NotOnnx: further than a piece could be cut.
        """
        frames = tensors[self.inputs[0]]
        middle, length = frames.shape[-1] // 2, frames.shape[-1]
        nudged = frames.copy()
        nudged[..., middle] += 1
        before = self.run(tensors)[0]
        after = self.run({**tensors, self.inputs[0]: nudged})[0]
        per_frame = before.shape[-1] // length
        if before.shape[-1] != per_frame * length:
            raise NotOnnx("a stage whose length does not follow its frames")
        felt = (
            np.flatnonzero((before != after).reshape(-1, before.shape[-1]).any(axis=0)) // per_frame
        )
        if not felt.size or felt[0] <= _SPARE_FRAMES or felt[-1] >= length - 1 - _SPARE_FRAMES:
            raise NotOnnx("a stage that looks over the whole sentence")
        # A frame is felt to its left by those that look to the right.
        self.right = middle - int(felt[0]) + _SPARE_FRAMES
        self.left = int(felt[-1]) - middle + _SPARE_FRAMES


class Stages:
    """A cut voice, loaded. May be used by several threads at once."""

    def __init__(self, cut: Cut) -> None:
        self._prior = _Runner(cut.prior)
        self._flow = _Runner(cut.flow)
        self._decoder = _Runner(cut.decoder)
        self.hop = 0
        """Samples of a frame; known after the probe."""
        self.margin = 0.0
        """Frames' work that each piece costs beyond its own; known after the probe."""

    def probe(self, asked: Tensors) -> float:
        """Find out how far the stages look; the seconds that a frame of sound takes.

        Raises:
            NotOnnx: they cannot be run in pieces.
        """
        drawn = self._draw(asked)
        length = drawn[self._flow.inputs[0]].shape[-1]
        tensors = {
            name: np.resize(array, (*array.shape[:-1], _PROBE_FRAMES)) if array.shape[-1] == length
            else array
            for name, array in drawn.items()
        }  # fmt: skip
        self._flow.find_reach(tensors)
        started = time.monotonic()
        frames = self._flow.run(tensors)[0]
        took_s = time.monotonic() - started
        tensors = {**tensors, self._decoder.inputs[0]: frames}
        self._decoder.find_reach(tensors)
        started = time.monotonic()
        samples = self._decoder.run(tensors)[0]
        took_s += time.monotonic() - started
        self.hop = samples.size // _PROBE_FRAMES
        # The flow overlaps further, but it is cheap and has fewer seams.
        self.margin = 1.1 * (self._decoder.left + self._decoder.right)
        return took_s / _PROBE_FRAMES

    def sentence(self, asked: Tensors) -> Sentence:
        """Draw a sentence; nothing of its sound is made yet."""
        return Sentence(self._draw(asked), self._flow, self._decoder)

    def _draw(self, asked: Tensors) -> Tensors:
        known = {name: asked[name] for name in self._prior.inputs}
        return dict(zip(self._prior.outputs, self._prior.run(known), strict=True))


class Sentence:
    """A sentence that is drawn, and of which sound can be made from left to right."""

    def __init__(self, tensors: Tensors, flow: _Runner, decoder: _Runner) -> None:
        self._tensors = tensors
        self._flow = flow
        self._decoder = decoder
        draws = tensors[flow.inputs[0]]
        self.length = int(draws.shape[-1])
        """In frames."""
        self._made = 0
        self._frames = np.zeros((0, 0, 0), np.float32)

    def samples(self, start: int, stop: int) -> Samples:
        """The sound of the frames from ``start`` to ``stop``, before any gain."""
        needed = min(self.length, stop + self._decoder.right)
        if needed > self._made:
            # Ahead, because the flow looks further than the decoder; not before the first piece.
            ahead = 2 * (stop - start) if self._made else 0
            until = min(self.length, needed + ahead)
            made = self._flow.run_part(self._tensors, self._made, until)
            if not self._made:
                self._frames = np.zeros((*made.shape[:-1], self.length), np.float32)
            self._frames[..., self._made : until] = made
            self._made = until
        tensors = {**self._tensors, self._decoder.inputs[0]: self._frames}
        sound = self._decoder.run_part(tensors, start, stop)
        return np.asarray(sound.reshape(-1), np.float32)
