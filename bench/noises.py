"""Sounds that are no words: recorded ones, cuts of them, and made clicks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance.audio import Pcm, read_audio
from appliance.headset import RATE_HZ, Clip

_LONGEST_S = 4.0
_STEP_S = 0.02
# Shorter is no sound of a voice.
_SHORTEST_S = 0.15
_PAUSE_S = 0.25

Sound = NDArray[np.float32]


def noises(folder: Path, count: int, has_words: Callable[[Pcm], bool]) -> list[tuple[Clip, str]]:
    """Made clicks, and recordings without words or cuts of them; each with how it was made.

    Args:
        folder: recordings; those that its manifest calls nonlexical if it has one.
        count: how many at most.
        has_words: asked of each: people say words around their sounds, and those are no noise.
    """
    manifest = folder / "manifest.json"
    if manifest.is_file():
        files = [
            folder / one["file"]
            for one in json.loads(manifest.read_text(encoding="utf-8"))
            if one.get("kind") == "nonlexical"
        ]
    else:
        files = sorted(file for file in folder.iterdir() if file.suffix in (".flac", ".wav"))
    found = [(Clip.from_pcm(name, Pcm(sound, RATE_HZ)), "synthetic") for name, sound in _clicks()]
    for file in files:
        pcm = read_audio(file).resampled(RATE_HZ)
        whole = Pcm(pcm.samples[: int(_LONGEST_S * RATE_HZ)], RATE_HZ)
        if not has_words(whole):
            found.append((Clip.from_pcm(file.stem, whole), "recorded"))
            continue
        for number, piece in enumerate(_sounds(pcm.samples)):
            cut = Pcm(piece, RATE_HZ)
            if not has_words(cut):
                found.append((Clip.from_pcm(f"{file.stem}-cut{number}", cut), "cut"))
    return found[:count]


def _sounds(samples: Sound) -> list[Sound]:
    """The stretches of sound between pauses of a quarter of a second, with a little room."""
    frame = RATE_HZ // 50
    loud = np.sqrt(
        np.mean(np.square(samples[: len(samples) // frame * frame].reshape(-1, frame)), 1)
    )
    voiced = np.nonzero(loud > 0.1 * loud.max())[0]
    found, start = [], voiced[0]
    for here, following in zip(voiced, [*voiced[1:], 1 << 30], strict=True):
        if following - here > _PAUSE_S / _STEP_S:
            a, b = max(0, (start - 3) * frame), (here + 4) * frame
            if (here - start) * _STEP_S >= _SHORTEST_S:
                found.append(samples[a:b])
            start = following
    return found


def _clicks() -> list[tuple[str, Sound]]:
    """A click, three knocks, a door, a pen on a table, a hum and a hiss."""
    chance = np.random.default_rng(7)
    second = np.arange(RATE_HZ, dtype=np.float32) / RATE_HZ

    def decay(fall_s: float) -> Sound:
        noise = chance.standard_normal(RATE_HZ).astype(np.float32)
        return (noise * np.exp(-second / fall_s) * 0.3).astype(np.float32)

    def at(sound: Sound, *starts_s: float) -> Sound:
        out = np.zeros(RATE_HZ * 2, np.float32)
        for start_s in starts_s:
            start = int(start_s * RATE_HZ)
            out[start : start + len(sound)] += sound[: len(out) - start]
        return out

    hum = (0.1 * np.sin(2 * np.pi * 100 * second)).astype(np.float32)
    hiss = (0.05 * chance.standard_normal(RATE_HZ)).astype(np.float32)
    return [
        ("click", at(decay(0.004), 0.1)),
        ("knocks", at(decay(0.02), 0.1, 0.4, 0.7)),
        ("door", at(decay(0.15), 0.1)),
        ("pen", at(decay(0.008), 0.1, 0.25, 0.4, 0.55, 0.7)),
        ("hum", at(hum, 0.1)),
        ("hiss", at(hiss, 0.1)),
    ]
