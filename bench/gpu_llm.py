"""The language model on a card: do all layers lie there, does it say the same, how fast, in what memory.

`python -m bench.gpu_llm --model FILE --out FOLDER`, run by bench/gpu.sh. Needs neither network nor box.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from appliance import cuda
from bench.gpu_card import Card, keep, median_ms
from bench.machine import machine
from services.llm.context import Context, KvType, Plan, Row
from services.llm.model import Model
from services.llm.vocabulary import MOST_TOP_K

_CALLER_TOKENS = 30
_STEP_TOKENS = 512
# Two sums in another order differ by this much; a first word that differs must have been as close.
_CLOSE_LOGITS = 0.1


class Loader:
    """What llama.cpp says while it loads."""

    def __init__(self, lib: Any) -> None:
        self._said: list[str] = []

        @lib.llama_log_callback
        def hear(_level: int, text: bytes, _data: ctypes.c_void_p) -> None:
            self._said.append(text.decode("utf-8", "replace"))

        self._hear = hear
        lib.llama_log_set(hear, ctypes.c_void_p(0))

    def layers(self) -> str:
        """Such as ``33/33``; empty if it said nothing of a card."""
        found = re.findall(r"offloaded (\d+/\d+) layers to GPU", "".join(self._said))
        return str(found[-1]) if found else ""

    def buffers_mib(self) -> dict[str, float]:
        """What it has laid out, by place and use, the last that it said of each."""
        found = re.findall(
            r"(\w+) +(model|KV|compute|output) buffer size *= *([\d.]+) MiB", "".join(self._said)
        )
        return {f"{place} {use}": float(size) for place, use, size in found}


def prompt_of(model: Model, length: int, seed: int) -> Any:
    """Random words, none of them special."""
    random = np.random.default_rng(seed)
    return random.integers(260, model.tokens, length).astype(np.int32)


def greedy(context: Context, prompt: Any, count: int) -> tuple[list[int], list[float]]:
    """So many likeliest tokens after a prompt, and by how much each was ahead of the next."""
    said: list[int] = []
    ahead: list[float] = []
    row = Row(0, 0, prompt, True)
    for _ in range(count):
        _must(context.decode([row]))
        logits, _ = context.logits(len(row.tokens) - 1)
        second, best = np.argpartition(logits, -2)[-2:]
        if logits[second] > logits[best]:
            second, best = best, second
        said.append(int(best))
        ahead.append(float(logits[best] - logits[second]))
        row = Row(0, row.start + len(row.tokens), np.array([best], np.int32), True)
    return said, ahead


def same_words(file: Path, kv_type: KvType) -> dict[str, Any]:
    """The first words on the card and on the processor, of the same model and prompt."""
    runs = []
    for layers in (0, -1):
        model = Model("sanity", file, gpu_layers=layers)
        context = Context("sanity", model, _plan(2, 512, kv_type))
        # Short enough that llama.cpp leaves the processor's part to the processor.
        runs.append(greedy(context, prompt_of(model, 16, 3), 32))
        context.close()
        model.close()
    (plain, ahead), (fast, _) = runs
    differs = [at for at, (one, other) in enumerate(zip(plain, fast, strict=True)) if one != other]
    margin = ahead[differs[0]] if differs else None
    return {
        "model": file.name, "tokens": len(plain), "first_difference": differs[0] if differs else None,
        "margin_there": margin, "is_same": margin is None or margin < _CLOSE_LOGITS,
    }  # fmt: skip


def best(context: Context, position: int) -> int:
    """The likeliest token there, wherever it was looked for."""
    logits, ids = context.logits(position)
    at = int(logits.argmax())
    return at if ids is None else int(ids[at])


def speed(
    model: Model, card: Card, slots: int, options: argparse.Namespace, *, likeliest: int
) -> dict[str, Any]:
    """So many conversations at once: reading, the first word, and words a second.

    Args:
        model: loaded.
        card: where.
        slots: how many conversations.
        options: of the command.
        likeliest: how many tokens are chosen in llama.cpp's graph; 0: none.
    """
    before = card.used_mib()
    room = options.context
    plan = replace(_plan(slots, room, options.kv), likeliest=likeliest)
    context = Context("speed", model, plan)
    prompts = [prompt_of(model, options.prompt, seed) for seed in range(slots)]

    def read(slot: int, start: int, tokens: Any) -> None:
        for at in range(0, len(tokens), _STEP_TOKENS):
            part = tokens[at : at + _STEP_TOKENS]
            _must(context.decode([Row(slot, start + at, part, at + len(part) == len(tokens))]))
        best(context, len(part) - 1)

    def first_word() -> None:
        context.cut(0, 0)
        read(0, 0, prompts[0])

    def next_turn() -> None:
        context.cut(0, len(prompts[0]))
        read(0, len(prompts[0]), prompts[0][:_CALLER_TOKENS])

    first_ms = median_ms(first_word, times=options.rounds)
    turn_ms = median_ms(next_turn, times=options.rounds)
    rates = []
    for _ in range(options.rounds):
        for slot, prompt in enumerate(prompts):
            context.cut(slot, 0)
            read(slot, 0, prompt)
        words = np.full(slots, 300, np.int32)
        began = time.perf_counter()
        for step in range(options.decode):
            rows = [
                Row(slot, len(prompts[slot]) + step, words[slot : slot + 1], True)
                for slot in range(slots)
            ]
            _must(context.decode(rows))
            words = np.array([best(context, slot) for slot in range(slots)], np.int32)
        rates.append(slots * options.decode / (time.perf_counter() - began))
    taken = card.taken_since(before)
    context.close()
    return {
        "slots": slots, "chosen_in_graph": likeliest, "context_tokens_each": room, "prompt_tokens": options.prompt,
        "first_word_ms": first_ms, "first_word_next_turn_ms": turn_ms,
        "tokens_per_s": [round(rate, 1) for rate in rates],
        "tokens_per_s_median": round(float(np.median(rates)), 1), "vram_mib": taken,
    }  # fmt: skip


def _plan(slots: int, context_tokens: int, kv_type: KvType) -> Plan:
    flash: Literal["on", "auto"] = "on" if kv_type != "f16" else "auto"
    threads = max(1, min(8, (os.cpu_count() or 2) - 1))
    return Plan(slots, context_tokens, threads, _STEP_TOKENS, kv_type, flash)


def _must(code: int) -> None:
    if code:
        raise RuntimeError(f"llama_decode answered {code}")


def main() -> int:
    """Run everything, keep the figures; 1 if a layer stayed outside or the words differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--sanity-model", type=Path, help="a small one; unset: the same")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--slots", default="1,4,8,16")
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kv", choices=("f16", "q8_0"), default="f16")
    parser.add_argument("--processor", action="store_true", help="expect no card")
    options = parser.parse_args()
    missing = cuda.preload(cuda.LLAMA)
    import llama_cpp

    card = Card()
    loader = Loader(llama_cpp)
    figures: dict[str, Any] = {
        "what": "the language model on a card", "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(), "card": card.describe(), "library_missing": missing,
        "finds_card": bool(llama_cpp.llama_supports_gpu_offload()), "kv_type": options.kv,
    }  # fmt: skip
    sanity = options.sanity_model or options.model
    figures["same_words"] = same_words(sanity, options.kv)
    before, began = card.used_mib(), time.perf_counter()
    model = Model("speed", options.model, gpu_layers=-1)
    figures |= {
        "model": options.model.name, "model_bytes": options.model.stat().st_size,
        "load_s": round(time.perf_counter() - began, 2), "vram_mib": card.taken_since(before),
        "layers_on_card": loader.layers(),
    }  # fmt: skip
    figures["speed"] = [
        speed(model, card, int(slots), options, likeliest=likeliest)
        for slots in options.slots.split(",")
        for likeliest in (0, MOST_TOP_K)
    ]
    figures["buffers_mib"] = loader.buffers_mib()
    on, _, all_of_them = figures["layers_on_card"].partition("/")
    is_there = options.processor or (figures["finds_card"] and bool(on) and on == all_of_them)
    figures["all_layers_on_card"] = bool(on) and on == all_of_them
    path = keep(options.out, "llm", figures)
    for one in figures["speed"]:
        print(
            f"{one['slots']:>2} at once, {one['chosen_in_graph']} chosen in the graph: {one['tokens_per_s_median']} tokens/s, first word "
            f"{one['first_word_ms']} ms, at the next turn {one['first_word_next_turn_ms']} ms"
        )
    print(f"layers on the card: {figures['layers_on_card'] or 'none'}; {path}")
    return 0 if is_there and figures["same_words"]["is_same"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
