"""What is kept of a conversation gives the same logits as reading it anew, in every kind of model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.errors import ApplianceError
from services.llm.context import Context, Ids, Plan, Row
from services.llm.model import Model
from services.llm.slots import Slots
from tests import ggufs

pytestmark = pytest.mark.services

WINDOW = 512
NEAR = 64
TALK: Ids = np.random.default_rng(5).integers(3, ggufs.VOCABULARY, 400).astype(np.int32)
OTHER: Ids = np.random.default_rng(6).integers(3, ggufs.VOCABULARY, 400).astype(np.int32)
# Logits go from -15 to 15 here; a cache with wrong or missing tokens changes them by whole numbers.
# Other work in the same step may add the same numbers up in another order.
CLOSE = 0.02
WRONG = 1.0

Make = Callable[..., Context]


def plain(path: Path) -> Path:
    return ggufs.make(path)


def sliding(path: Path) -> Path:
    return ggufs.make(
        path, "gemma3", layers=12, attention__key_length=32, attention__value_length=32,
        attention__sliding_window=NEAR, rope__freq_base=10000.0,
    )  # fmt: skip


def recurrent(path: Path) -> Path:
    return ggufs.make(
        path, "mamba", attention__head_count=0, attention__head_count_kv=0,
        ssm__inner_size=128, ssm__state_size=16, ssm__conv_kernel=4, ssm__time_step_rank=4,
    )  # fmt: skip


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    opened: list[Any] = []

    def made(kind: Callable[[Path], Path], **plan: Any) -> Context:
        model = Model("made", kind(tmp_path / f"{len(opened)}.gguf"), gpu_layers=0)
        opened.append(model)
        how = {"sequences": 3, "context_tokens": WINDOW, "threads": 1, "step_tokens": 64, **plan}
        context = Context("made", model, Plan(**how))
        opened.append(context)
        return context

    yield made
    for one in reversed(opened):
        one.close()


def read(context: Context, sequence: int, tokens: Ids, start: int = 0) -> Any:
    """Read in steps; the logits after the last token."""
    last = 0
    for at in range(start, len(tokens), 64):
        piece = tokens[at : min(at + 64, len(tokens))]
        assert context.decode([Row(sequence, at, piece, at + len(piece) == len(tokens))]) == 0
        last = len(piece) - 1
    return context.logits(last)[0].copy()


def anew(context: Context, tokens: Ids, then: int) -> Any:
    """The logits after reading everything in an empty place; from ``then`` on in steps of its own."""
    assert context.cut(2, 0) == 0
    read(context, 2, tokens[:then])
    return read(context, 2, tokens, then)


@pytest.mark.parametrize("kind", [plain, sliding])
def test_what_is_kept_is_as_good_as_read_anew(make: Make, kind: Any) -> None:
    context = make(kind)
    read(context, 0, TALK)
    for keep in (384, 200, 128, 64, 16):
        told = np.concatenate([TALK[:keep], OTHER[:40]])
        assert context.cut(0, keep) == keep
        kept = read(context, 0, told, keep)
        assert np.abs(kept - anew(context, told, keep)).max() < CLOSE
        assert (
            np.abs(kept - anew(context, np.concatenate([OTHER[-keep:], OTHER[:40]]), keep)).max()
            > WRONG
        )


@pytest.mark.parametrize("kind", [plain, sliding])
def test_what_is_copied_is_as_good_as_read_anew(make: Make, kind: Any) -> None:
    context = make(kind)
    read(context, 0, TALK[:300])
    read(context, 1, OTHER[:50])
    context.copy(0, 1)
    assert context.cut(1, 200) == 200
    told = np.concatenate([TALK[:200], OTHER[:30]])
    assert np.abs(read(context, 1, told, 200) - anew(context, told, 200)).max() < CLOSE
    # Who it was copied from goes on as if nothing had been.
    more = TALK[:320]
    assert np.abs(read(context, 0, more, 300) - anew(context, more, 300)).max() < CLOSE


def test_a_window_that_has_moved_on_is_not_taken_for_kept(make: Make) -> None:
    context = make(sliding, swa_full=False)
    read(context, 0, TALK)
    keep = 152
    told = np.concatenate([TALK[:keep], OTHER[:40]])
    kept = context.cut(0, keep)
    assert kept == 0
    assert np.abs(read(context, 0, told, kept) - anew(context, told, 128)).max() < CLOSE


def test_a_recurrent_model_goes_on_or_reads_anew(make: Make) -> None:
    context = make(recurrent)
    assert not context.can_copy
    slots = Slots(context, 3, WINDOW)
    read(context, 0, TALK[:100])
    further = read(context, 0, TALK[:130], 100)
    assert np.abs(further - anew(context, TALK[:130], 100)).max() < CLOSE
    assert context.cut(0, 50) == 0
    told = np.concatenate([TALK[:50], OTHER[:40]])
    assert np.abs(read(context, 0, told) - anew(context, told, 64)).max() < CLOSE
    slot = slots.take("room", told, background=False)
    assert slot is not None
    assert slot.length == 0


def test_conversations_in_one_step_do_not_mix(make: Make) -> None:
    context = make(plain)
    read(context, 0, TALK[:100])
    read(context, 1, OTHER[:80])
    rows = [Row(0, 100, TALK[100:101], True), Row(1, 80, OTHER[80:120], True)]
    assert context.decode(rows) == 0
    one, other = context.logits(0)[0].copy(), context.logits(40)[0].copy()
    assert np.abs(one - anew(context, TALK[:101], 100)).max() < CLOSE
    assert np.abs(other - anew(context, OTHER[:120], 80)).max() < CLOSE


def test_a_full_place_is_told_and_hurts_nobody(make: Make) -> None:
    context = make(plain, context_tokens=256)
    read(context, 0, TALK[:256])
    read(context, 1, OTHER[:10])
    assert context.decode([Row(0, 256, TALK[256:257], True), Row(1, 10, OTHER[10:11], True)]) == 1
    after = read(context, 1, OTHER[:11], 10)
    assert np.abs(after - anew(context, OTHER[:11], 10)).max() < CLOSE


@pytest.mark.parametrize("kind", ["f16", "q8_0"])
def test_the_cache_in_fewer_bits_gives_nearly_the_same(make: Make, kind: Any) -> None:
    # q8_0 has 32 values in a block; a head must be a multiple of that.
    wide: dict[str, Any] = {"attention__key_length": 32, "attention__value_length": 32}
    context = make(lambda path: ggufs.make(path, **wide), kv_type=kind, flash_attn="on")
    read(context, 0, TALK[:200])
    assert context.cut(0, 150) == 150
    kept = read(context, 0, TALK[:200], 150)
    assert np.abs(kept - anew(context, TALK[:200], 150)).max() < 10 * CLOSE


@pytest.mark.parametrize("kind", [plain, sliding, recurrent])
def test_the_likeliest_tokens_are_the_same_when_the_graph_chooses_them(
    make: Make, kind: Any
) -> None:
    count = 40
    all_of_them = read(make(kind), 1, TALK[:100])
    chosen = make(kind, likeliest=count)
    # Another conversation in the same step.
    assert chosen.decode([Row(0, 0, TALK[:64], False)]) == 0
    assert chosen.decode([Row(2, 0, OTHER[:30], True)]) == 0
    assert chosen.decode([Row(0, 64, TALK[64:100], True), Row(2, 30, OTHER[30:31], True)]) == 0
    logits, ids = chosen.logits(35)
    assert ids is not None
    assert len(set(ids.tolist())) == len(logits) == count
    assert np.abs(logits - all_of_them[ids]).max() < CLOSE
    assert logits.min() > np.sort(all_of_them)[-count] - CLOSE
    others = chosen.logits(36)[1]
    assert others is not None
    assert not np.array_equal(ids, others)


def test_a_small_vocabulary_is_chosen_whole(make: Make) -> None:
    context = make(plain, likeliest=10 * ggufs.VOCABULARY)
    assert context.decode([Row(0, 0, TALK[:5], True)]) == 0
    _, ids = context.logits(4)
    assert ids is not None
    assert sorted(ids) == list(range(ggufs.VOCABULARY))


def test_a_library_that_cannot_choose_in_its_graph_gives_all_logits(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    import llama_cpp

    takes = llama_cpp.llama_set_sampler
    refused = lambda context, sequence, sampler: (  # noqa: E731
        takes(context, sequence, sampler) if sequence < 2 or sampler is None else False
    )
    monkeypatch.setattr(llama_cpp, "llama_set_sampler", refused)
    context = make(plain, likeliest=40)
    assert context.decode([Row(0, 0, TALK[:5], True), Row(2, 0, TALK[:5], True)]) == 0
    for position in (4, 9):
        logits, ids = context.logits(position)
        assert ids is None
        assert len(logits) == ggufs.VOCABULARY


def test_a_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(1000))
    with pytest.raises(ApplianceError) as told:
        Model("bad", tmp_path / "bad.gguf", gpu_layers=0)
    assert told.value.code == "model_unreadable"
