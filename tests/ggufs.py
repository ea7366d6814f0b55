"""Small GGUF files made to order, and the damage that files meet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
VOCABULARY = 320
WIDTH = 64


def make(
    path: Path,
    kind: str = "llama",
    *,
    layers: int = 4,
    only_keys: dict[str, Any] | None = None,
    words: str = "",
    **keys: Any,
) -> Path:
    """A model of this architecture with random weights.

    Args:
        path: where it is written.
        kind: its architecture.
        layers: of these it has.
        only_keys: what the head says, whatever the tensors are; ``template`` is among them.
        words: how a text is split before its bytes become tokens, e.g. "tekken"; empty: it is not.
        keys: what both follow; ``__`` stands for a dot.
    """
    writer = gguf.GGUFWriter(path, kind)
    values: dict[str, Any] = {
        "context_length": 4096, "embedding_length": WIDTH, "block_count": layers,
        "feed_forward_length": 2 * WIDTH, "attention.head_count": 4, "attention.head_count_kv": 2,
        "attention.layer_norm_rms_epsilon": 1e-5, "vocab_size": VOCABULARY,
    }  # fmt: skip
    values |= {key.replace("__", "."): value for key, value in keys.items()}
    said = values | (only_keys or {})
    template = said.pop("template", TEMPLATE)
    for key, value in said.items():
        _add(writer, f"{kind}.{key}", value)
    if template:
        writer.add_chat_template(template)
    writer.add_license("apache-2.0")
    _tokenizer(writer, words)
    _tensors(writer, kind, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_uint32(key, value)


def _tokenizer(writer: gguf.GGUFWriter, words: str) -> None:
    special = ["<unk>", "<s>", "</s>"]
    each = _byte_letters() if words else [f"<0x{n:02X}>" for n in range(256)]
    tokens = [*special, *each]
    tokens += [f"w{n}" for n in range(VOCABULARY - len(tokens))]
    kinds = [2, 3, 3, *([1 if words else 6] * 256), *([1] * (VOCABULARY - 259))]
    writer.add_tokenizer_model("gpt2" if words else "llama")
    if words:
        writer.add_tokenizer_pre(words)
        writer.add_token_merges(["w 0"])
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * VOCABULARY)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def _byte_letters() -> list[str]:
    """The letters that stand for bytes: themselves where they can be seen."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    unseen = [n for n in range(256) if n not in seen]
    return [chr(n if n in seen else 256 + unseen.index(n)) for n in range(256)]


def _tensors(writer: gguf.GGUFWriter, kind: str, values: dict[str, Any]) -> None:
    random = np.random.default_rng(7)

    def add(name: str, *shape: int) -> None:
        weights = random.standard_normal(shape).astype(np.float32)
        # A state that is multiplied by more than 1 at each token grows beyond all numbers.
        writer.add_tensor(name, -abs(weights) if name.endswith("ssm_a") else weights)

    each = WIDTH // max(1, values["attention.head_count"])
    key = values.get("attention.key_length", each)
    heads, kv = values["attention.head_count"], values["attention.head_count_kv"]
    add("token_embd.weight", VOCABULARY, WIDTH)
    add("output_norm.weight", WIDTH)
    for layer in range(values["block_count"]):
        own = f"blk.{layer}."
        if kind == "mamba":
            inner, state = values["ssm.inner_size"], values["ssm.state_size"]
            rank, kernel = values["ssm.time_step_rank"], values["ssm.conv_kernel"]
            add(own + "attn_norm.weight", WIDTH)
            add(own + "ssm_in.weight", 2 * inner, WIDTH)
            add(own + "ssm_conv1d.weight", inner, kernel)
            add(own + "ssm_conv1d.bias", inner)
            add(own + "ssm_x.weight", rank + 2 * state, inner)
            add(own + "ssm_dt.weight", inner, rank)
            add(own + "ssm_dt.bias", inner)
            add(own + "ssm_a", inner, state)
            add(own + "ssm_d", inner)
            add(own + "ssm_out.weight", WIDTH, inner)
            continue
        for part, rows in (("q", heads), ("k", kv), ("v", kv)):
            add(f"{own}attn_{part}.weight", rows * key, WIDTH)
        add(own + "attn_output.weight", WIDTH, heads * key)
        for name in ("attn_norm", "ffn_norm"):
            add(f"{own}{name}.weight", WIDTH)
        if kind == "gemma3":
            for name in ("attn_q_norm", "attn_k_norm"):
                add(f"{own}{name}.weight", key)
            for name in ("post_attention_norm", "post_ffw_norm"):
                add(f"{own}{name}.weight", WIDTH)
        for name in ("ffn_gate", "ffn_up"):
            add(f"{own}{name}.weight", 2 * WIDTH, WIDTH)
        add(own + "ffn_down.weight", WIDTH, 2 * WIDTH)


def scrambled(source: Path, target: Path, seed: int = 3) -> Path:
    """A copy with the same head and noise for weights: it loads, and babbles."""
    start = gguf.GGUFReader(source).data_offset
    raw = bytearray(source.read_bytes())
    raw[start:] = np.random.default_rng(seed).bytes(len(raw) - start)
    target.write_bytes(raw)
    return target


def truncated(source: Path, target: Path) -> Path:
    """The first half."""
    raw = source.read_bytes()
    target.write_bytes(raw[: len(raw) // 2])
    return target
