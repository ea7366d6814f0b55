"""Whisper on a card: the same sums as the processor, and the time of short and long mels, alone and in batches.

`python -m bench.gpu_stt --model FOLDER --out FOLDER`, run by bench/gpu.sh. Needs neither network nor box.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from appliance import cuda
from bench.gpu_card import Card, keep, median_ms
from bench.machine import machine

# 8 s, which is the least that a caller's words are padded to, 12 s, and the whole window.
FRAMES = (800, 1200, 3000)
_WORDS = 20
_START = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
_END = "<|endoftext|>"
# Of outputs with a spread of about 1; int8 rounds each weight to a hundredth.
_OFF = {"float16": 0.05, "int8_float16": 0.4, "float32": 0.01, "int8": 0.4}


def tokens_of(folder: Path) -> list[str]:
    """The model's vocabulary."""
    listed = folder / "vocabulary.json"
    if listed.is_file():
        return list(json.loads(listed.read_text(encoding="utf-8")))
    return (folder / "vocabulary.txt").read_text(encoding="utf-8").splitlines()


def mel_of(mels: int, frames: int, batch: int) -> Any:
    """Noise in the shape of sound."""
    random = np.random.default_rng(frames)
    return np.ascontiguousarray(random.standard_normal((batch, mels, frames), np.float32))


class Ear:
    """One loaded model."""

    def __init__(self, folder: Path, device: str, compute_type: str, threads: int = 0) -> None:
        import ctranslate2

        self._to_storage = ctranslate2.StorageView.from_array
        self.model: Any = ctranslate2.models.Whisper(
            str(folder), device=device, compute_type=compute_type, intra_threads=threads
        )
        words = tokens_of(folder)
        self._start = [words.index(one) for one in _START]
        self._end = words.index(_END)

    def encode(self, mel: Any, *, to_cpu: bool = False) -> Any:
        """What the encoder makes of it, on the device unless asked for."""
        return self.model.encode(self._to_storage(mel), to_cpu=to_cpu)

    def write(self, mel: Any) -> None:
        """Encode, then so many words for each of the batch."""
        encoded = self.encode(mel)
        self.model.generate(
            encoded, [self._start] * len(mel), beam_size=1, max_length=len(self._start) + _WORDS,
            suppress_tokens=[self._end], suppress_blank=False,
        )  # fmt: skip


def measured(
    options: argparse.Namespace, kind: str, card: Card, batches: list[int], expected: Any
) -> dict[str, Any]:
    """One compute type: how far from the processor's float32, in what memory, how fast."""
    before, began = card.used_mib(), time.perf_counter()
    ear = Ear(options.model, options.device, kind)
    load_s = round(time.perf_counter() - began, 2)
    loaded = card.taken_since(before)
    mels = ear.model.n_mels
    heard = np.array(ear.encode(mel_of(mels, FRAMES[0], 1), to_cpu=True), np.float32)
    off = float(np.abs(heard - expected).mean() / expected.std())
    times = []
    for frames in FRAMES:
        for batch in batches:
            sounds = mel_of(mels, frames, batch)
            encode_ms = median_ms(partial(ear.encode, sounds, to_cpu=True), times=options.rounds)
            whole_ms = median_ms(partial(ear.write, sounds), times=options.rounds)
            times.append(
                {"frames": frames, "batch": batch, "encode_ms": encode_ms, "whole_ms": whole_ms}
            )
            print(f"{kind}: {frames} frames, batch {batch}: {whole_ms} ms", flush=True)
    return {
        "compute_type": kind, "load_s": load_s, "vram_loaded_mib": loaded,
        "vram_after_work_mib": card.taken_since(before), "mean_off": round(off, 5),
        "is_right": off < _OFF[kind], "times": times,
    }  # fmt: skip


def main() -> int:
    """Run everything, keep the figures; 1 if the card computes something else than the processor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--compute", default="float16,int8_float16")
    parser.add_argument("--batches", default="1,4,8,16")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    missing = cuda.preload(cuda.WHISPER)
    import ctranslate2

    card = Card()
    figures: dict[str, Any] = {
        "what": "Whisper on a card", "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(), "card": card.describe(), "library_missing": missing,
        "note": options.note, "ctranslate2": ctranslate2.__version__, "words": _WORDS,
        "device": options.device, "model": options.model.name,
        "computes": sorted(ctranslate2.get_supported_compute_types(options.device)), "kinds": [],
    }  # fmt: skip
    plain = Ear(options.model, "cpu", "float32")
    expected = np.array(plain.encode(mel_of(plain.model.n_mels, FRAMES[0], 1), to_cpu=True))
    del plain
    batches = [int(batch) for batch in options.batches.split(",")]
    for kind in options.compute.split(","):
        figures["kinds"].append(measured(options, kind, card, batches, expected))
    path = keep(options.out, "stt", figures)
    print(path)
    return 0 if all(one["is_right"] for one in figures["kinds"]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
