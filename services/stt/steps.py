"""Whisper's two dear steps, each done once for all who ask for it at the same moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.stt.turnstile import Request, Step, Turnstile
from services.stt.vocabulary import Samples

_CPU_FRAMES = 3_200
_GPU_FRAMES = 16_000
"""Mel frames that go through the model together: on a CPU four short utterances, which take no longer
than one window of 30 s takes alone, so that nobody waits longer for a step than before."""


@dataclass(frozen=True)
class Writing:
    """What is written down, and how.

    Args:
        encoded: a batch of one, as ``Steps.encode`` gives it.
        prompt: tokens that the text follows.
        most: most tokens to write after the prompt.
        temperature: 0 is greedy.
    """

    encoded: Any
    prompt: Sequence[int]
    most: int
    temperature: float


class Steps:
    """Encodes and writes down, for as many as ask at once.

    Args:
        model: CTranslate2's Whisper.
        turnstile: who is next.
    """

    def __init__(self, model: Any, turnstile: Turnstile) -> None:
        self._model = model
        self._turnstile = turnstile
        on_gpu = model.device == "cuda"
        self.frames_at_once = _GPU_FRAMES if on_gpu else _CPU_FRAMES
        if on_gpu and "bfloat16" in model.compute_type:
            # NumPy, by which batches are taken apart, has no such number.
            self.frames_at_once = 0

    def encode(self, request: Request, features: Samples) -> Any | None:
        """What Whisper hears in one mel of shape (bands, frames); None if stopped."""
        step = Step(
            ("encode", features.shape), features, self._most(features.shape[-1]), self._encode
        )
        return self._turnstile.together(request, step)

    def write(self, request: Request, writing: Writing, frames: int) -> Any | None:
        """CTranslate2's result for one encoding of so many frames; None if stopped."""
        # Prompts that begin at different places cannot be in one batch; sampling is not shared,
        # because a batch would have others' chances in it.
        most = 1 if writing.temperature else self._most(frames)
        step = Step(("write", frames, len(writing.prompt)), writing, most, self._write)
        return self._turnstile.together(request, step)

    def _most(self, frames: int) -> int:
        return max(1, self.frames_at_once // frames)

    def _encode(self, features: Sequence[Samples]) -> Sequence[Any]:
        encoded = self._model.encode(_view(np.stack(features)), to_cpu=len(features) > 1)
        if len(features) == 1:
            return [encoded]
        rows = np.asarray(encoded)
        return [_view(rows[index : index + 1]) for index in range(len(features))]

    def _write(self, writings: Sequence[Writing]) -> Sequence[Any]:
        sampling: dict[str, Any] = {}
        if writings[0].temperature > 0:
            sampling = {"sampling_topk": 0, "sampling_temperature": writings[0].temperature}
        results: Sequence[Any] = self._model.generate(
            _joined([writing.encoded for writing in writings]),
            [list(writing.prompt) for writing in writings],
            beam_size=1,
            max_length=_max_length(writings),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=[-1],
            **sampling,
        )
        return results


def _max_length(writings: Sequence[Writing]) -> int:
    most = max(writing.most for writing in writings)
    # CTranslate2 writes min(max_length / 2, max_length - before) tokens, where `before` is all of
    # the prompt but its last token: half of what is asked for, unless the prompt is long.
    before = len(writings[0].prompt) - 1
    return max(2 * most, before + most)


def _view(array: Any) -> Any:
    import ctranslate2

    return ctranslate2.StorageView.from_array(np.ascontiguousarray(array))


def _joined(encodings: Sequence[Any]) -> Any:
    if len(encodings) == 1:
        return encodings[0]
    import ctranslate2

    here = ctranslate2.Device.cpu
    return _view(np.concatenate([np.asarray(encoded.to_device(here)) for encoded in encodings]))
