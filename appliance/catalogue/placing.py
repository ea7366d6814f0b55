"""How a language model lies on a graphics card: layers, cache and slots, from what is free there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from appliance.catalogue.fit import GIB, KvType, Need, Plan, need_of, text
from appliance.catalogue.shape import Shape

ALL_LAYERS = -1
FlashAttention = Literal["auto", "on"]

LEAST_SLOTS = 2
"""One for calls, one for other programs."""

# What is predicted is off by up to a tenth, and memory that is full to the brim fragments.
_USED_PART = 0.92
_LEAST_KEPT = GIB // 4


@dataclass(frozen=True)
class Wish:
    """What the language model is to serve.

    Attributes:
        slots: conversations kept at once.
        context_tokens: of each of them.
        gpu_layers: the owner's number; ``ALL_LAYERS``: as many as fit.
    """

    slots: int
    context_tokens: int
    gpu_layers: int = ALL_LAYERS


@dataclass(frozen=True)
class Placing:
    """How the model is loaded.

    Attributes:
        gpu_layers: on the card; ``ALL_LAYERS``: all, 0: none.
        slots: conversations kept at once.
        kv_type: what the conversations are kept in.
        flash_attn: ``on`` where the cache asks for it, else llama.cpp decides.
        why: a sentence about where this comes from.
    """

    gpu_layers: int
    slots: int
    kv_type: KvType = "f16"
    flash_attn: FlashAttention = "auto"
    why: str = ""


def on_processor(wish: Wish, why: str) -> Placing:
    """Without a card that can be used."""
    return Placing(0, wish.slots, why=why)


def on_card(shape: Shape, wish: Wish, free: int) -> Placing:
    """What fits into a card's memory: all slots in f16, else in q8_0, else fewer of them, else
    fewer layers.

    A conversation that finds no slot is read again at its next turn, which a card does fast; a
    layer that lies outside slows every word down. So slots are given up before layers are.

    Args:
        shape: the model's.
        wish: what it is to serve.
        free: bytes on the card that it may take.
    """
    if wish.gpu_layers == 0:
        return on_processor(wish, "llm.gpu_layers is 0")
    usable = usable_of(free)
    said = f"{text(free)} of graphics memory are free for it"
    for kv_type in _kinds(shape):
        if need_on_card(shape, wish, kv_type).total <= usable:
            return _placed(wish.gpu_layers, wish.slots, kv_type, f"all {wish.slots} slots: {said}")
    kv_type = _kinds(shape)[-1]
    for slots in range(wish.slots - 1, LEAST_SLOTS - 1, -1):
        fewer = replace(wish, slots=slots)
        if need_on_card(shape, fewer, kv_type).total <= usable:
            why = f"{slots} of {wish.slots} slots: {said}"
            return _placed(wish.gpu_layers, slots, kv_type, why)
    if wish.gpu_layers != ALL_LAYERS:
        why = f"llm.gpu_layers is {wish.gpu_layers}: {said}, which may not do"
        return _placed(wish.gpu_layers, LEAST_SLOTS, kv_type, why)
    for layers in range(shape.layers, 0, -1):
        if need_on_card(shape, replace(wish, gpu_layers=layers), kv_type).total <= usable:
            why = f"{layers} of {shape.layers} layers: {said}"
            return _placed(layers, wish.slots, kv_type, why)
    return on_processor(wish, f"no layer fits: {said}")


def usable_of(free: int) -> int:
    """Bytes of the free ones that are planned with."""
    return max(0, min(int(free * _USED_PART), free - _LEAST_KEPT))


def need_on_card(shape: Shape, wish: Wish, kv_type: KvType) -> Need:
    """Predicted memory on the card for so many slots and layers."""
    need = need_of(shape, Plan("vram", wish.context_tokens, wish.slots, kv_type=kv_type))
    if wish.gpu_layers == ALL_LAYERS or wish.gpu_layers > shape.layers:
        return need
    # The output is one layer more, and the last to be put there.
    part = wish.gpu_layers / (shape.layers + 1)
    return replace(need, weights=int(need.weights * part), kv=int(need.kv * part))


def _kinds(shape: Shape) -> tuple[KvType, ...]:
    return ("f16", "q8_0") if shape.kv_in_q8 else ("f16",)


def _placed(layers: int, slots: int, kv_type: KvType, why: str) -> Placing:
    # llama.cpp refuses a quantised cache without flash attention.
    return Placing(layers, slots, kv_type, "on" if kv_type == "q8_0" else "auto", why)
