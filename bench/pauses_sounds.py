"""Speech with pauses inside sentences: recorded ones, and ones made of room noise at word boundaries."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from appliance.audio import read_audio

RATE_HZ = 16000
SEED = 20260
LEAD_S, TAIL_S = 0.5, 4.0
LEAST_PAUSE_S, LONGEST_PAUSE_S = 0.4, 1.2
# Silences of real microphones in real rooms: clip, from where, how long, in seconds.
NOISES = (("cold_corpus.flac", 12.0, 1.4), ("jfk.flac", 2.25, 0.9))
Samples = NDArray[np.int16]


@dataclass(frozen=True)
class Spoken:
    """One turn of a caller.

    Attributes:
        name: what it is made of.
        kind: where its pauses come from; "finished": it has none.
        text: what is said.
        samples: 16 kHz mono, with room noise before and after.
        pauses: (last voice before, first voice after), in seconds.
        end_s: the last voiced sample.
    """

    name: str
    kind: Literal["made", "recorded", "finished"]
    text: str
    samples: Samples
    pauses: tuple[tuple[float, float], ...]
    end_s: float


class Room:
    """Room noise of a wanted length and loudness; a folder's first clip that has some."""

    def __init__(self, folder: Path) -> None:
        name, from_s, long_s = next(noise for noise in NOISES if (folder / noise[0]).exists())
        clip = _load(folder / name).astype(np.float32)
        noise = clip[int(from_s * RATE_HZ) :][: int(long_s * RATE_HZ)]
        self._noise = noise / _loudness(noise)

    def noise(self, seconds: float, loudness: float) -> Samples:
        """Noise with this root mean square (of 16-bit samples), forth and back over the recording."""
        loop = np.concatenate([self._noise, self._noise[::-1]])
        wanted = int(seconds * RATE_HZ)
        return np.asarray(np.resize(loop, wanted) * loudness, dtype=np.int16)


def collect(folders: list[Path], made: int, seed: int, stt: httpx.Client) -> list[Spoken]:
    """All of it, the same for the same clips, transcripts and ``made``.

    Args:
        folders: clips with a manifest each; the first has the room noise.
        made: how many pauses to make.
        seed: which, and how long.
        stt: asked where the words of the clips are.
    """
    room = Room(folders[0])
    finished: list[Spoken] = []
    recorded: list[Spoken] = []
    boundaries: list[tuple[dict[str, Any], Samples, float]] = []
    for folder in folders:
        for entry in json.loads((folder / "manifest.json").read_text(encoding="utf-8")):
            if entry.get("kind") == "nonlexical":
                continue
            clip = _load(folder / entry["file"])
            silences = _silences(clip)
            if silences:
                recorded.append(_whole(entry, clip, silences, room, "recorded"))
            elif not entry.get("kind"):
                finished.append(_whole(entry, clip, [], room, "finished"))
            if not entry.get("kind"):
                words = _words(stt, clip)
                # After the last word, and in a pause that was recorded, there is nothing to make.
                boundaries += [
                    (entry, clip, _quietest(clip, (words[i]["end"] + words[i + 1]["start"]) / 2))
                    for i in range(len(words) - 1)
                    if words[i + 1]["start"] - words[i]["end"] < LEAST_PAUSE_S
                    and not any(a - 0.15 < words[i]["end"] < b + 0.15 for a, b in silences)
                ]
    chance = np.random.default_rng(seed)
    chosen = chance.choice(len(boundaries), size=min(made, len(boundaries)), replace=False)
    cuts = []
    for entry, clip, at_s in (boundaries[i] for i in sorted(chosen)):
        pause_s = float(chance.uniform(LEAST_PAUSE_S, LONGEST_PAUSE_S))
        cuts.append(_cut(entry, clip, at_s, pause_s, room))
    return [*recorded, *cuts, *finished]


def _whole(
    entry: dict[str, Any], clip: Samples, silences: list[tuple[float, float]], room: Room,
    kind: Literal["recorded", "finished"],
) -> Spoken:  # fmt: skip
    around = _around(clip, room)
    return Spoken(
        entry["file"], kind, entry["text"], around,
        tuple((LEAD_S + a, LEAD_S + b) for a, b in silences), LEAD_S + _voice_ends(clip),
    )  # fmt: skip


def _cut(entry: dict[str, Any], clip: Samples, at_s: float, pause_s: float, room: Room) -> Spoken:
    place = int(at_s * RATE_HZ)
    noise = room.noise(pause_s, _floor(clip))
    with_pause = np.concatenate([_faded(clip[:place], -1), noise, _faded(clip[place:], 1)])
    return Spoken(
        f"{entry['file']}@{at_s:.2f}+{pause_s:.2f}", "made", entry["text"],
        _around(with_pause, room), ((LEAD_S + at_s, LEAD_S + at_s + pause_s),),
        LEAD_S + _voice_ends(clip) + pause_s,
    )  # fmt: skip


def _around(clip: Samples, room: Room) -> Samples:
    loud = _floor(clip)
    return np.concatenate([room.noise(LEAD_S, loud), clip, room.noise(TAIL_S, loud)])


def _words(stt: httpx.Client, clip: Samples) -> list[dict[str, Any]]:
    file = io.BytesIO()
    sf.write(file, clip, RATE_HZ, format="WAV")
    answer = stt.post(
        "/v1/audio/transcriptions",
        files={"file": file.getvalue()},
        data={
            "language": "en", "response_format": "verbose_json",
            "timestamp_granularities[]": "word",
        },
    ).raise_for_status()  # fmt: skip
    words: list[dict[str, Any]] = answer.json()["words"]
    return words


def _load(path: Path) -> Samples:
    return np.frombuffer(read_audio(path).resampled(RATE_HZ).to_s16le(), np.int16)


def _levels(clip: Samples, step_s: float = 0.02) -> NDArray[np.float64]:
    step = int(step_s * RATE_HZ)
    frames = clip[: len(clip) // step * step].reshape(-1, step).astype(np.float64)
    return np.asarray(np.sqrt((frames**2).mean(axis=1)))


def _loudness(samples: NDArray[np.float32]) -> float:
    return float(np.sqrt((samples.astype(np.float64) ** 2).mean()))


def _floor(clip: Samples) -> float:
    """How loud the clip's own background is; made voices have none, so something faint."""
    return float(np.clip(np.percentile(_levels(clip), 3), 8.0, 250.0))


def _is_voice(clip: Samples) -> NDArray[np.bool_]:
    levels = _levels(clip)
    low, high = np.percentile(levels, [2, 95])
    return np.asarray(levels > max(low * 4, high * 0.03))


def _silences(clip: Samples) -> list[tuple[float, float]]:
    """Pauses of at least 0.4 s between voice and voice, in seconds."""
    voiced = np.flatnonzero(_is_voice(clip)) * 0.02
    gaps = zip(voiced[:-1] + 0.02, voiced[1:], strict=True)
    return [(float(a), float(b)) for a, b in gaps if b - a >= LEAST_PAUSE_S]


def _voice_ends(clip: Samples) -> float:
    return float(np.flatnonzero(_is_voice(clip))[-1] + 1) * 0.02


def _quietest(clip: Samples, near_s: float) -> float:
    """The quietest place within 80 ms, where a cut is not heard as one."""
    levels = _levels(clip, 0.005)
    first = max(0, int((near_s - 0.08) / 0.005))
    return float(first + int(np.argmin(levels[first : first + 32]))) * 0.005


def _faded(samples: Samples, side: Literal[-1, 1]) -> Samples:
    """Without a click at its end (-1) or beginning (1): 5 ms."""
    length = min(len(samples), RATE_HZ // 200)
    ramp = np.linspace(0.0, 1.0, length)
    out = samples.astype(np.float32)
    if side == 1:
        out[:length] *= ramp
    else:
        out[len(out) - length :] *= ramp[::-1]
    return out.astype(np.int16)
