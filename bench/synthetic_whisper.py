"""Whispers of the right shape with random weights, in CTranslate2's format.

`python -m bench.synthetic_whisper SHAPE FOLDER`. They hear nothing; only their speed and size are like the real one's.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_POSITIONS = 1500
_TEXT_POSITIONS = 448
_WORDS = 50_257
_LANGUAGES = 100
_TIMES = 1501
SPECIAL = (
    "<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>",
    "<|notimestamps|>",
)  # fmt: skip


@dataclass(frozen=True)
class Form:
    """A Whisper's numbers."""

    mels: int
    encoder_layers: int
    decoder_layers: int
    width: int
    heads: int


SHAPES = {
    "tiny": Form(80, 1, 1, 64, 2),
    "base": Form(80, 6, 6, 512, 8),
    "turbo": Form(128, 32, 4, 1280, 20),
}
"""``tiny`` is smaller than the model of that name: for trying the script."""


def vocabulary() -> list[str]:
    """Tokens in the order of the multilingual models."""
    return [
        *(f"t{n}" for n in range(_WORDS)), "<|endoftext|>", "<|startoftranscript|>", "<|en|>",
        *(f"<|x{n}|>" for n in range(_LANGUAGES - 1)), *SPECIAL,
        *(f"<|{n * 0.02:.2f}|>" for n in range(_TIMES)),
    ]  # fmt: skip


def make(folder: Path, form: Form) -> Path:
    """Write a model in float16."""
    from ctranslate2.specs.whisper_spec import WhisperSpec

    spec = WhisperSpec(form.encoder_layers, form.heads, form.decoder_layers, form.heads)
    _Filler(form).fill(spec)
    tokens = vocabulary()
    spec.register_vocabulary(tokens)
    first = tokens.index("<|en|>")
    spec.config.lang_ids = list(range(first, first + _LANGUAGES))
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], []
    spec.config.alignment_heads = [(form.decoder_layers - 1, 0)]
    spec.validate()
    spec.optimize(quantization="float16")
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    return folder


class _Filler:
    def __init__(self, form: Form) -> None:
        self._form = form
        self._random = np.random.default_rng(5)

    def fill(self, spec: Any) -> None:
        form, width = self._form, self._form.width
        encoder, decoder = spec.encoder, spec.decoder
        encoder.conv1.weight, encoder.conv1.bias = self._some(width, form.mels, 3), _zeros(width)
        encoder.conv2.weight, encoder.conv2.bias = self._some(width, width, 3), _zeros(width)
        encoder.position_encodings.encodings = self._some(_POSITIONS, width)
        decoder.position_encodings.encodings = self._some(_TEXT_POSITIONS, width)
        decoder.embeddings.weight = self._some(len(vocabulary()), width)
        decoder.projection.weight = decoder.embeddings.weight
        for half in (encoder, decoder):
            self._norm(half.layer_norm)
            for layer in half.layer:
                self._attention(layer.self_attention, (3 * width, width))
                self._ffn(layer.ffn)
        for layer in decoder.layer:
            self._attention(layer.attention, (width, 2 * width, width))

    def _attention(self, spec: Any, rows: tuple[int, ...]) -> None:
        self._norm(spec.layer_norm)
        for linear, size in zip(spec.linear, rows, strict=True):
            self._linear(linear, size, self._form.width)

    def _ffn(self, spec: Any) -> None:
        width = self._form.width
        self._norm(spec.layer_norm)
        self._linear(spec.linear_0, 4 * width, width)
        self._linear(spec.linear_1, width, 4 * width)

    def _linear(self, spec: Any, rows: int, columns: int) -> None:
        spec.weight, spec.bias = self._some(rows, columns), _zeros(rows)

    def _norm(self, spec: Any) -> None:
        spec.gamma, spec.beta = np.ones(self._form.width, np.float32), _zeros(self._form.width)

    def _some(self, *shape: int) -> npt.NDArray[np.float32]:
        inputs = int(np.prod(shape[1:]))
        return self._random.standard_normal(shape, np.float32) / np.float32(np.sqrt(inputs))


def _zeros(size: int) -> npt.NDArray[np.float32]:
    return np.zeros(size, np.float32)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    make(options.folder, SHAPES[options.shape])
    size = (options.folder / "model.bin").stat().st_size
    print(f"{options.folder}: {size / 1e9:.2f} GB")
