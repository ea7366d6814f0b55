"""Sounds that are no words: recorded ones, cuts of others, made clicks, and variants."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance.audio import Pcm, read_audio
from appliance.headset import RATE_HZ, Clip

# From when to when words are spoken in these recordings of the Montreal Forced Aligner, in seconds: from
# their published transcripts ("montreal forced um aligner") and the silences around each word. They do
# not come from the ear that is measured: it would choose the sounds that it takes for none. In "er" and
# "hes" all is words: "hardly know 'er", and a "forced" that is drawn out.
_WORDS: dict[str, Sequence[tuple[float, float]]] = {
    "mfa_breaths": [(4.30, 5.02), (6.94, 7.90), (11.00, 12.02)],
    "mfa_er": [(0.78, 2.68)],
    "mfa_hes": [(0.86, 3.48)],
    "mfa_laughter": [(1.98, 3.14), (5.32, 5.80), (7.68, 8.88)],
    "mfa_uh": [(1.24, 2.10), (3.60, 4.56)],
    "mfa_uhuh": [(0.98, 1.62), (5.44, 6.30)],
    "mfa_uhum": [(0.96, 1.82), (6.72, 7.26)],
    "mfa_um": [(1.22, 2.80), (6.24, 6.74)],
}
# A longer recording has words around its sound, as these have.
_LONGEST_S = 4.0
# Shorter is no sound of a voice.
_SHORTEST_S = 0.15
_CUTS_OF_EACH = 2
_FRAME = RATE_HZ // 50
# Between the bursts of one laugh.
_PAUSE_FRAMES = 10
_ROOM_S = 0.04
# RMS of full scale 1: a breath is louder.
_LOUD = 0.0025
_BETWEEN_S = 0.3

Sound = NDArray[np.float32]
Named = tuple[str, Sound]
Times = Sequence[tuple[float, float]]


@dataclass
class Noises:
    """What was found.

    Attributes:
        clips: the sounds, each with how it was made.
        unused: recordings that gave none, and why.
    """

    clips: list[tuple[Clip, str]] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)


def noises(folder: Path, count: int) -> Noises:
    """One or two sounds of each recording, then made clicks, then variants of the recorded.

    Args:
        folder: recordings; those that its manifest calls nonlexical if it has one. Whoever is in
            it with ``words``, from when to when words are spoken, is cut between those.
        count: how many at most.
    """
    found, first, more = Noises(), list[tuple[Named, str]](), list[tuple[Named, str]]()
    for file, words in _files(folder):
        own = list(_sounds(file, words))
        first += own[:1]
        more += own[1:]
        if not own:
            why = "it holds only words" if words else "where its words are is not known"
            found.unused.append(f"{file.name}: {why}")
    clicks = _clicks()
    recorded = (first + more)[: max(len(first), count - len(clicks))]
    wanted = recorded + [(click, "synthetic") for click in clicks]
    wanted += _variants([named for named, _made in recorded])
    for (name, sound), made in wanted[:count]:
        found.clips.append((Clip.from_pcm(name, Pcm(sound, RATE_HZ)), made))
    return found


def _files(folder: Path) -> Iterator[tuple[Path, Times]]:
    manifest = folder / "manifest.json"
    if manifest.is_file():
        for one in json.loads(manifest.read_text(encoding="utf-8")):
            if one.get("kind") == "nonlexical":
                file = folder / one["file"]
                yield file, one.get("words") or _WORDS.get(file.stem, ())
        return
    for file in sorted(folder.iterdir()):
        if file.suffix in (".flac", ".wav"):
            yield file, _WORDS.get(file.stem, ())


def _sounds(file: Path, words: Times) -> Iterator[tuple[Named, str]]:
    """The longest cuts of a recording with words, or the whole of a short one."""
    pcm = read_audio(file).resampled(RATE_HZ)
    if words:
        longest = sorted(cuts(pcm.samples, words), key=len, reverse=True)
        for number, cut in enumerate(longest[:_CUTS_OF_EACH]):
            yield (f"{file.stem}-cut{number}", cut), "cut"
    elif pcm.duration_s <= _LONGEST_S:
        yield (file.stem, pcm.samples), "recorded"


def cuts(samples: Sound, words: Times) -> list[Sound]:
    """What is loud before, between and after the words, in their order."""
    seconds = len(samples) / RATE_HZ
    edges = [0.0, *itertools.chain.from_iterable(sorted(words)), seconds]
    found = []
    for start_s, end_s in zip(edges[::2], edges[1::2], strict=True):
        found += _loud(samples[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)])
    return found


def _loud(stretch: Sound) -> list[Sound]:
    whole = stretch[: len(stretch) // _FRAME * _FRAME].reshape(-1, _FRAME)
    voiced = np.nonzero(np.sqrt(np.mean(np.square(whole), axis=1)) > _LOUD)[0]
    if not len(voiced):
        return []
    found, room = [], round(_ROOM_S * RATE_HZ)
    for run in np.split(voiced, np.nonzero(np.diff(voiced) > _PAUSE_FRAMES)[0] + 1):
        a, b = int(run[0]) * _FRAME, (int(run[-1]) + 1) * _FRAME
        if b - a >= _SHORTEST_S * RATE_HZ:
            found.append(stretch[max(0, a - room) : b + room])
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
