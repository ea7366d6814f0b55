"""What the synthetic callers do: how many, how often, with which recordings."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Literal

import numpy as np

from appliance.errors import BadInput
from appliance.headset import FRAME, RATE_HZ, Clip, Samples

RECORDINGS = Path(__file__).with_name("recordings")
KINDS = {".wav", ".flac", ".mp3", ".ogg", ".opus"}
LONG = "story"
OVER = "wait"
PAUSES_S = (0.4, 0.6, 0.8, 1.0, 1.2)
# The quietest moment is looked for here, in parts of the spoken length: neither the first word nor
# the last is cut from the rest.
_CUT_FROM, _CUT_TO = 0.3, 0.8
_QUIET_FRAMES = 6

Kind = Literal["question", "pause", "barge_in"]


@dataclass(frozen=True)
class Plan:
    """How much is asked; the numbers of questions are those of each room."""

    rooms: int = 1
    turns: int = 5
    pauses: int = 0
    """Questions with a pause in their middle, besides ``turns``."""
    barge_ins: int = 0
    """Long answers that are spoken over, besides ``turns``."""
    overlap: bool = False
    """Whether the rooms speak when they like; otherwise one after another."""
    per_call: int = 5
    """After so many questions a room hangs up and calls again."""

    @property
    def deeds(self) -> int:
        """What is said to each room, in all."""
        return self.turns + self.pauses + self.barge_ins


@dataclass(frozen=True)
class Deed:
    """One thing that a caller does. ``over`` is what it says into the answer of a barge-in."""

    kind: Kind
    clip: Clip
    over: Clip | None = None


@dataclass(frozen=True)
class Voices:
    """The recordings of a folder."""

    questions: tuple[Clip, ...]
    long: Clip
    over: Clip

    @classmethod
    def read(cls, folder: Path) -> Voices:
        """Every recording of a folder; ``story.*`` asks for a long answer, ``wait.*`` cuts it short.

        Raises:
            BadInput: it holds no recording that can be read.
        """
        files = sorted(p for p in folder.glob("*") if p.suffix.lower() in KINDS)
        clips = {path.stem: Clip.read(path) for path in files}
        questions = tuple(clip for stem, clip in clips.items() if stem not in (LONG, OVER))
        if not questions:
            raise BadInput(
                "no_recordings", f"There is no recording in {folder}.",
                "Name a folder of spoken questions as wav, flac, mp3 or ogg files.",
            )  # fmt: skip
        shortest = min(questions, key=lambda clip: clip.voiced_to_s - clip.voiced_from_s)
        return cls(questions, clips.get(LONG, questions[0]), clips.get(OVER, shortest))


def calls_of(plan: Plan, voices: Voices, room: int) -> list[list[Deed]]:
    """What a room (from 0) does, call by call; each begins with another recording."""
    count = len(voices.questions)
    offset = room * max(1, count // max(1, plan.rooms))
    clips = cycle(voices.questions[offset % count :] + voices.questions[: offset % count])
    deeds = [Deed("question", next(clips)) for _ in range(plan.turns)]
    lengths = islice(cycle(PAUSES_S), room, room + plan.pauses)
    deeds += [Deed("pause", with_pause(next(clips), length_s)) for length_s in lengths]
    deeds += [Deed("barge_in", voices.long, voices.over)] * plan.barge_ins
    return [deeds[i : i + plan.per_call] for i in range(0, len(deeds), plan.per_call)]


def with_pause(clip: Clip, length_s: float) -> Clip:
    """The recording with ``length_s`` seconds of silence in its middle, at its quietest moment.

    The microphone lays a room's noise over it, as over everything.
    """
    at = _quietest(clip)
    silence: Samples = np.zeros(round(length_s * RATE_HZ), np.float32)
    samples = np.concatenate([clip.samples[:at], silence, clip.samples[at:]])
    name = f"{clip.name} +{length_s:.1f}s"
    return Clip(name, samples, clip.voiced_from_s, clip.voiced_to_s + length_s)


def _quietest(clip: Clip) -> int:
    """The sample in the middle of the quietest 60 ms of the recording's middle."""
    spoken_s = clip.voiced_to_s - clip.voiced_from_s
    first = int((clip.voiced_from_s + _CUT_FROM * spoken_s) * RATE_HZ)
    last = int((clip.voiced_from_s + _CUT_TO * spoken_s) * RATE_HZ)
    frames = clip.samples[first : first + (last - first) // FRAME * FRAME].reshape(-1, FRAME)
    if len(frames) < _QUIET_FRAMES:
        return (first + last) // 2
    power = np.convolve(np.mean(np.square(frames), axis=1), np.ones(_QUIET_FRAMES), "valid")
    return first + (int(np.argmin(power)) + _QUIET_FRAMES // 2) * FRAME
