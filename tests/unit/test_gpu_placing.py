"""How a language model is put on a card: the reference card, narrow cards, and no room at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.catalogue.fit import GIB, MIB, Plan, need_of
from appliance.catalogue.placing import (
    ALL_LAYERS,
    Placing,
    Wish,
    need_on_card,
    on_card,
    on_processor,
    usable_of,
)
from appliance.catalogue.reading import read_shape
from appliance.catalogue.shape import Shape
from tests import ggufs

pytestmark = pytest.mark.unit


def shape(weights_gib: float, layers: int, kv_heads: int, width: int, **more: object) -> Shape:
    """A model with heads of 128 values, as the ones for a card of 24 GB have."""
    return Shape.model_validate(
        {
            "task": "llm", "weights": int(weights_gib * GIB), "layers": layers, "kv_in_q8": True,
            "kv_per_token": layers * kv_heads * 128 * 2 * 2, "heads": width // 128, "width": width,
            "vocabulary": 128_256, **more,
        }
    )  # fmt: skip


LLAMA_8B = shape(4.58, 32, 8, 4096)
QWEN_14B = shape(8.38, 40, 8, 5120)
# An RTX 4090 without a screen, beside Whisper turbo.
BESIDE_WHISPER = int(22.7 * GIB) - int(2.5 * GIB)


@pytest.mark.parametrize("slots", [2, 5, 9, 16])
def test_the_reference_model_has_all_its_slots_in_f16_on_the_reference_card(slots: int) -> None:
    placing = on_card(LLAMA_8B, Wish(slots, 4096), BESIDE_WHISPER)
    assert (placing.gpu_layers, placing.slots) == (ALL_LAYERS, slots)
    assert (placing.kv_type, placing.flash_attn) == ("f16", "auto")
    assert f"all {slots} slots" in placing.why


def test_the_cache_is_halved_before_a_slot_is_given_up() -> None:
    placing = on_card(QWEN_14B, Wish(16, 4096), BESIDE_WHISPER)
    assert (placing.gpu_layers, placing.slots) == (ALL_LAYERS, 16)
    # llama.cpp refuses one without the other.
    assert (placing.kv_type, placing.flash_attn) == ("q8_0", "on")


def test_a_cache_that_cannot_be_halved_loses_slots() -> None:
    odd = QWEN_14B.model_copy(update={"kv_in_q8": False})
    placing = on_card(odd, Wish(16, 4096), BESIDE_WHISPER)
    assert placing.kv_type == "f16"
    assert placing.gpu_layers == ALL_LAYERS
    assert 8 < placing.slots < 16
    assert f"{placing.slots} of 16 slots" in placing.why


def test_slots_are_given_up_before_layers() -> None:
    placing = on_card(QWEN_14B, Wish(16, 4096), 12 * GIB)
    assert (placing.gpu_layers, placing.kv_type) == (ALL_LAYERS, "q8_0")
    assert 2 <= placing.slots < 16


def test_a_model_larger_than_the_card_leaves_layers_outside() -> None:
    placing = on_card(QWEN_14B, Wish(4, 4096), 7 * GIB)
    assert 0 < placing.gpu_layers < 40
    assert placing.slots == 4
    assert f"{placing.gpu_layers} of 40 layers" in placing.why


def test_a_card_that_is_full_is_not_used() -> None:
    placing = on_card(QWEN_14B, Wish(4, 4096), 600 * MIB)
    assert (placing.gpu_layers, placing.slots, placing.flash_attn) == (0, 4, "auto")
    assert "no layer fits: 600 MiB" in placing.why


def test_the_owners_number_of_layers_is_kept() -> None:
    assert on_card(LLAMA_8B, Wish(4, 4096, gpu_layers=0), 24 * GIB).gpu_layers == 0
    some = on_card(LLAMA_8B, Wish(4, 4096, gpu_layers=20), 24 * GIB)
    assert (some.gpu_layers, some.slots, some.kv_type) == (20, 4, "f16")
    # More than fit: he may know better, and llama.cpp says it if not.
    forced = on_card(LLAMA_8B, Wish(4, 4096, gpu_layers=32), 3 * GIB)
    assert (forced.gpu_layers, forced.slots) == (32, 2)
    assert "may not do" in forced.why


@pytest.mark.parametrize("model", [LLAMA_8B, QWEN_14B])
def test_whatever_is_free_is_never_planned_beyond(model: Shape) -> None:
    before = (0, 0, 0)
    for half_gib in range(1, 60):
        free = half_gib * GIB // 2
        wish = Wish(16, 4096)
        found = on_card(model, wish, free)
        if found.gpu_layers != 0:
            taken = need_on_card(
                model, Wish(found.slots, 4096, found.gpu_layers), found.kv_type
            ).total
            assert taken <= usable_of(free) < free
        # More memory never makes it worse.
        rank = (
            model.layers + 1 if found.gpu_layers == ALL_LAYERS else found.gpu_layers,
            found.slots if found.gpu_layers == ALL_LAYERS else 0,
            int(found.kv_type == "f16" and found.slots == 16),
        )
        assert rank >= before, (half_gib, found)
        before = rank
    assert before == (model.layers + 1, 16, 1)


def test_without_a_card_the_slots_stay() -> None:
    assert on_processor(Wish(5, 4096), "why") == Placing(0, 5, "f16", "auto", "why")


@pytest.mark.parametrize(("width_of_head", "can"), [(32, True), (64, True), (80, False)])
def test_whether_a_cache_can_be_halved_is_read_from_the_file(
    width_of_head: int, can: bool, tmp_path: Path
) -> None:
    file = ggufs.make(
        tmp_path / "made.gguf",
        attention__key_length=width_of_head, attention__value_length=width_of_head,
    )  # fmt: skip
    found = read_shape("llm", {"model": file})
    assert (found.kv_in_q8, found.layers) == (can, 4)


def test_a_cache_in_q8_takes_what_llama_cpp_lays_out() -> None:
    f16, q8 = (need_of(LLAMA_8B, Plan("vram", 4096, 4, kv_type=k)).kv for k in ("f16", "q8_0"))
    assert f16 == 2 * GIB
    assert q8 == f16 * 34 // 64
