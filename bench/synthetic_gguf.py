"""Language models of the right shape with random weights: what a card is timed with where nothing can be fetched.

`python -m bench.synthetic_gguf SHAPE FILE`. They babble; only their speed and size are like the real one's.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

_TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
_BYTES = 256
_FIRST = ("<unk>", "<s>", "</s>")
# Random bytes are made once, this many, and used again for every tensor, a bit further on each time.
_POOL_BYTES = 64 << 20


@dataclass(frozen=True)
class Form:
    """A llama's numbers."""

    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int = 8192


SHAPES = {
    "tiny": Form(2, 256, 512, 4, 2, 512),
    "small": Form(24, 1024, 2816, 16, 8, 32_000),
    "3b": Form(28, 3072, 8192, 24, 8, 128_256),
    "8b": Form(32, 4096, 14_336, 32, 8, 128_256),
}
"""As Llama 3.2 3B and 3.1 8B; ``small`` is for comparing a card with the processor."""


def make(path: Path, form: Form) -> Path:
    """Write a model with Q4_K weights, of which some are Q6_K, as in a Q4_K_M."""
    writer = gguf.GGUFWriter(path, "llama", use_temp_file=False)
    writer.add_context_length(form.context)
    writer.add_embedding_length(form.width)
    writer.add_block_count(form.layers)
    writer.add_feed_forward_length(form.inner)
    writer.add_head_count(form.heads)
    writer.add_head_count_kv(form.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500_000.0)
    writer.add_vocab_size(form.vocabulary)
    writer.add_chat_template(_TEMPLATE)
    tokens = [*_FIRST, *(f"<0x{n:02X}>" for n in range(_BYTES))]
    kinds = [2, 3, 3, *([6] * _BYTES)]
    tokens += [f"\u2581w{n}" for n in range(form.vocabulary - len(tokens))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * form.vocabulary)
    writer.add_token_types(kinds + [1] * (form.vocabulary - len(kinds)))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    weights = _Weights(writer)
    weights.add("token_embd.weight", form.vocabulary, form.width)
    for layer in range(form.layers):
        own = f"blk.{layer}."
        # Where a Q4_K_M spends more bits: half of the layers, in two places.
        more = layer % 2 == 0
        key = form.width // form.heads * form.kv_heads
        weights.ones(own + "attn_norm.weight", form.width)
        weights.add(own + "attn_q.weight", form.width, form.width)
        weights.add(own + "attn_k.weight", key, form.width)
        weights.add(own + "attn_v.weight", key, form.width, fine=more)
        weights.add(own + "attn_output.weight", form.width, form.width)
        weights.ones(own + "ffn_norm.weight", form.width)
        weights.add(own + "ffn_gate.weight", form.inner, form.width)
        weights.add(own + "ffn_up.weight", form.inner, form.width)
        weights.add(own + "ffn_down.weight", form.width, form.inner, fine=more)
    weights.ones("output_norm.weight", form.width)
    weights.add("output.weight", form.vocabulary, form.width, fine=True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


class _Weights:
    """Random blocks as the quantised kinds lay them out, with scales that keep the sums at bay."""

    def __init__(self, writer: gguf.GGUFWriter) -> None:
        self._writer = writer
        self._random = np.random.default_rng(11)
        self._pools: dict[Any, npt.NDArray[np.uint8]] = {}
        self._at = 0

    def ones(self, name: str, size: int) -> None:
        self._writer.add_tensor(name, np.ones(size, np.float32))

    def add(self, name: str, rows: int, columns: int, *, fine: bool = False) -> None:
        kind = gguf.GGMLQuantizationType.Q6_K if fine else gguf.GGMLQuantizationType.Q4_K
        values, size = gguf.GGML_QUANT_SIZES[kind]
        if columns % values:
            raise ValueError(f"{name}: {columns} values a row are no whole blocks of {values}")
        pool = self._pool(kind, size, columns)
        per_row = columns // values
        count = rows * per_row
        blocks = np.resize(np.roll(pool, self._at, axis=0), (count, size))
        self._at += 1009
        self._writer.add_tensor(name, blocks.reshape(rows, per_row * size), raw_dtype=kind)

    def _pool(self, kind: Any, size: int, columns: int) -> npt.NDArray[np.uint8]:
        found = self._pools.get((kind, columns))
        if found is not None:
            return found
        blocks = self._random.integers(0, 256, (_POOL_BYTES // 8 // size, size), np.uint8)
        wanted = 1 / math.sqrt(columns)
        if kind == gguf.GGMLQuantizationType.Q4_K:
            # 4 bits times 6 bits, less 7.5 times another 6 bits.
            scale = np.float16(wanted / 258)
            blocks[:, 0:2] = np.frombuffer(scale.tobytes(), np.uint8)
            blocks[:, 2:4] = np.frombuffer(np.float16(float(scale) * 7.5).tobytes(), np.uint8)
        else:
            # 6 bits less 32, times 8 bits.
            scale = np.float16(wanted / 1370)
            blocks[:, 208:210] = np.frombuffer(scale.tobytes(), np.uint8)
        self._pools[kind, columns] = blocks
        return blocks


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    make(options.file, SHAPES[options.shape])
    print(f"{options.file}: {options.file.stat().st_size / 1e9:.2f} GB")
