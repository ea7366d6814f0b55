"""What decides a model's need for memory, and how that is found in its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from appliance.catalogue.gguf_head import Length, read_head
from appliance.errors import BadInput

# llama.cpp before 2026-08 writes past its arrays beyond this.
_MOST_LAYERS = 512
_MOST = 1 << 24
_F16, _F32 = 2, 4
_MOST_TEMPLATE = 1 << 20
_Q8_BLOCK = 32


class Shape(BaseModel):
    """A model's own numbers. Bytes, unless said otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    task: str
    weights: int = Field(ge=0)
    kv_per_token: int = Field(0, ge=0)
    """Of one conversation, in f16."""
    state: int = Field(0, ge=0)
    """Of one conversation, whatever its length: recurrent layers."""
    layers: int = Field(0, ge=0)
    kv_in_q8: bool = False
    """Whether its conversations can be kept in q8_0, which has 32 values in a block."""
    heads: int = Field(0, ge=0)
    width: int = Field(0, ge=0)
    vocabulary: int = Field(0, ge=0)
    trained_tokens: int = Field(0, ge=0)
    """Longest context it was trained for; 0: unknown."""
    window_tokens: int = Field(0, ge=0)
    """Sliding window of some of its layers; 0: none."""
    recurrent_layers: int = Field(0, ge=0)
    architecture: str = ""
    licence: str = ""


def shape_of_gguf(files: list[Path]) -> Shape:
    """The shape of a language model, from the head of its file or files.

    Raises:
        BadInput: it is no GGUF, damaged, cut short, or no model that can talk.
    """
    heads = [read_head(path) for path in files]
    for path, head in zip(files, heads, strict=True):
        if head.missing_bytes:
            raise BadInput(
                "model_truncated",
                f"{path.name} is not whole: {head.missing_bytes:,} bytes of it are missing.",
                "Fetch or copy the file again.",
            )
    values = heads[0].values
    parts = values.get("split.count", 1)
    if isinstance(parts, int) and parts > 1 and parts != len(files):
        raise BadInput("model_incomplete", f"{files[0].name} is one of {parts} files of a model.")
    weights = sum(sum(head.tensors.values()) for head in heads)
    return _Llm(values, files[0].name).shape(weights)


class _Llm:
    """Reads one architecture's keys, which are named after it."""

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self._values = values
        self._name = name
        self._kind = str(values.get("general.architecture", ""))
        if not self._kind.replace("-", "").replace("_", "").isalnum():
            raise self._absurd("it does not say of what kind it is")

    def shape(self, weights: int) -> Shape:
        """All numbers.

        Raises:
            BadInput: one is missing or absurd.
        """
        layers = self._whole("block_count", most=_MOST_LAYERS)
        width = self._whole("embedding_length")
        heads = self._whole("attention.head_count", least=0, default=0)
        template = self._values.get("tokenizer.chat_template", "")
        if not isinstance(template, str) or not 0 < len(template) < _MOST_TEMPLATE:
            raise BadInput(
                "model_without_template", f"{self._name} has no chat template, so it cannot hold a talk.",
                "Choose an instruction-tuned model.",
            )  # fmt: skip
        recurrent = self._recurrent(layers)
        return Shape(
            task="llm",
            weights=weights,
            kv_per_token=self._kv_per_token(layers, width, heads, recurrent),
            state=len(recurrent) * self._state_of_layer(width),
            layers=layers,
            kv_in_q8=self._kv_in_q8(width, heads),
            heads=heads,
            width=width,
            vocabulary=self._vocabulary(),
            trained_tokens=self._whole("context_length", least=0, default=0),
            window_tokens=self._whole("attention.sliding_window", least=0, default=0),
            recurrent_layers=len(recurrent),
            architecture=self._kind[:64],
            licence=str(self._values.get("general.license", ""))[:200],
        )

    def _kv_per_token(self, layers: int, width: int, heads: int, recurrent: set[int]) -> int:
        # Purely recurrent models have no heads.
        each = -(-width // heads) if heads else 0
        key = self._whole("attention.key_length", least=0, default=each)
        value = self._whole("attention.value_length", least=0, default=each)
        near_key = self._whole("attention.key_length_swa", least=0, default=key)
        near_value = self._whole("attention.value_length_swa", least=0, default=value)
        kv_heads = self._per_layer("attention.head_count_kv", layers, heads)
        near = self._per_layer("attention.sliding_window_pattern", layers, 0)
        # Layers that use another layer's cache keep none of their own.
        own = layers - self._whole("attention.shared_kv_layers", least=0, default=0, most=layers)
        total = 0
        for layer in range(own):
            if layer not in recurrent:
                wide = near_key + near_value if near[layer] else key + value
                total += kv_heads[layer] * wide * _F16
        return total

    def _kv_in_q8(self, width: int, heads: int) -> bool:
        each = -(-width // heads) if heads else 0
        key = self._whole("attention.key_length", least=0, default=each)
        value = self._whole("attention.value_length", least=0, default=each)
        near_key = self._whole("attention.key_length_swa", least=0, default=key)
        near_value = self._whole("attention.value_length_swa", least=0, default=value)
        wide = (key, value, near_key, near_value)
        return key > 0 and all(values % _Q8_BLOCK == 0 for values in wide)

    def _recurrent(self, layers: int) -> set[int]:
        every = self._whole("full_attention_interval", least=0, default=0)
        if every:
            return {layer for layer in range(layers) if (layer + 1) % every}
        if "ssm.state_size" not in self._own() and "wkv.head_size" not in self._own():
            return set()
        kv_heads = self._per_layer("attention.head_count_kv", layers, 0)
        return {layer for layer in range(layers) if not kv_heads[layer]}

    def _state_of_layer(self, width: int) -> int:
        """As llama.cpp lays it out: the convolution's last inputs and the state, in f32."""
        wkv = self._whole("wkv.head_size", least=0, default=0)
        if wkv:
            return (2 * width + width * wkv) * _F32
        state = self._whole("ssm.state_size", least=0, default=0)
        inner = self._whole("ssm.inner_size", least=0, default=0)
        kernel = self._whole("ssm.conv_kernel", least=0, default=0)
        groups = self._whole("ssm.group_count", least=0, default=0)
        convolved = max(0, kernel - 1) * (inner + 2 * groups * state)
        return (convolved + state * inner) * _F32

    def _vocabulary(self) -> int:
        tokens = self._values.get("tokenizer.ggml.tokens")
        listed = tokens.elements if isinstance(tokens, Length) else 0
        return listed or self._whole("vocab_size", least=0, default=0)

    def _own(self) -> set[str]:
        mine = f"{self._kind}."
        return {key.removeprefix(mine) for key in self._values if key.startswith(mine)}

    def _per_layer(self, key: str, layers: int, default: int) -> list[int]:
        found = self._values.get(f"{self._kind}.{key}", default)
        if isinstance(found, list):
            if len(found) < layers or not all(0 <= one < _MOST for one in found):
                raise self._absurd(f"{key} does not match its layers")
            return [int(one) for one in found[:layers]]
        if key.endswith("pattern"):
            # One number means: all but each n-th layer look only nearby.
            every = self._whole(key, least=0, default=default)
            return [int(bool(every) and (layer + 1) % every != 0) for layer in range(layers)]
        return [self._whole(key, least=0, default=default)] * layers

    def _whole(
        self, key: str, *, least: int = 1, most: int = _MOST, default: int | None = None
    ) -> int:
        found = self._values.get(f"{self._kind}.{key}", default)
        if isinstance(found, list) and found:
            found = max(found)
        if found is None or isinstance(found, bool | str | float | Length):
            raise self._absurd(f"{key} is missing")
        if not least <= found <= most:
            raise self._absurd(f"{key} is {found}")
        return int(found)

    def _absurd(self, why: str) -> BadInput:
        return BadInput(
            "model_damaged", f"{self._name} makes no sense: {why}.",
            "Choose a language model in GGUF format that llama.cpp knows.",
        )  # fmt: skip
