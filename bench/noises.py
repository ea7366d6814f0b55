"""Sounds that are no words: recorded ones, cuts of them, variants of both, and made clicks."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance.audio import Pcm, read_audio
from appliance.headset import RATE_HZ, Clip

# Longer ones hold words around their sounds: where the ear has found none, it has missed them.
_LONGEST_S = 4.0
# Shorter is no sound of a voice.
_SHORTEST_S = 0.15
# The ear's times of words are off by some hundredths.
_FROM_WORDS_S = 0.1
_FRAME = RATE_HZ // 50
_PAUSE_FRAMES = 3
_ROOM_S = 0.04
# RMS of full scale 1; the half of it is still heard.
_LOUD = 0.005
_BETWEEN_S = 0.3

Sound = NDArray[np.float32]
Named = tuple[str, Sound]
Times = Sequence[tuple[float, float]]


def noises(folder: Path, count: int, words_in: Callable[[Pcm], Times]) -> list[tuple[Clip, str]]:
    """Recordings without words and cuts of others, then variants, then made clicks; with how each was made.

    Args:
        folder: recordings; those that its manifest calls nonlexical if it has one.
        count: how many at most.
        words_in: says from when to when words are spoken in it, in seconds; asked of whole
            recordings, for people say words around their sounds, and those are no noise.
    """
    found, originals = list[tuple[Named, str]](), list[Named]()
    for file in _files(folder):
        pcm = read_audio(file).resampled(RATE_HZ)
        words = words_in(pcm)
        if words:
            own = [(f"{file.stem}-cut{n}", cut) for n, cut in enumerate(cuts(pcm.samples, words))]
            found += [(cut, "cut") for cut in own]
            originals += own
        elif pcm.duration_s <= _LONGEST_S:
            found.append(((file.stem, pcm.samples), "recorded"))
            originals.append((file.stem, pcm.samples))
    found += _variants(originals)
    found += [(made, "synthetic") for made in _clicks()]
    return [
        (Clip.from_pcm(name, Pcm(sound, RATE_HZ)), made) for (name, sound), made in found[:count]
    ]


def _files(folder: Path) -> list[Path]:
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return sorted(file for file in folder.iterdir() if file.suffix in (".flac", ".wav"))
    listed = json.loads(manifest.read_text(encoding="utf-8"))
    return [folder / one["file"] for one in listed if one.get("kind") == "nonlexical"]


def cuts(samples: Sound, words: Times) -> list[Sound]:
    """The sounds between the words that no word runs into."""
    whole = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    loud = np.sqrt(np.mean(np.square(whole), axis=1))
    voiced = np.nonzero(loud > max(_LOUD, 0.1 * float(loud.max(initial=0.0))))[0]
    if not len(voiced):
        return []
    found = []
    for run in np.split(voiced, np.nonzero(np.diff(voiced) > _PAUSE_FRAMES)[0] + 1):
        a, b = run[0] * _FRAME / RATE_HZ, (run[-1] + 1) * _FRAME / RATE_HZ
        is_apart = all(
            b + _FROM_WORDS_S <= start or a >= end + _FROM_WORDS_S for start, end in words
        )
        if is_apart and b - a >= _SHORTEST_S:
            found.append(
                samples[int(max(0.0, a - _ROOM_S) * RATE_HZ) : int((b + _ROOM_S) * RATE_HZ)]
            )
    return found


def _variants(originals: list[Named]) -> list[tuple[Named, str]]:
    """Each at half its loudness, each twice, and each followed by the next."""
    quieter = [
        ((f"{name}-quieter", sound * np.float32(0.5)), "quieter cut") for name, sound in originals
    ]
    twice = [
        ((f"{name}-twice", _after_each_other(one, one)), "cut twice") for name, one in originals
    ]
    pairs = [
        ((f"{name}-{other}", _after_each_other(one, two)), "two cuts")
        for (name, one), (other, two) in itertools.pairwise(originals)
    ]
    return quieter + twice + pairs


def _after_each_other(one: Sound, two: Sound) -> Sound:
    return np.concatenate([one, np.zeros(int(_BETWEEN_S * RATE_HZ), np.float32), two])


def _clicks() -> list[Named]:
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
