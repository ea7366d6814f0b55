"""What is asked of the ear, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
import numpy.typing as npt

RATE_HZ = 16_000
"""Whisper and its voice detector hear 16 kHz mono."""

Samples = npt.NDArray[np.float32]
"""Mono, 16 kHz, finite, within -1..1."""

Task = Literal["transcribe", "translate"]


@dataclass(frozen=True)
class Manner:
    """How to listen.

    Args:
        task: translate always answers in English.
        language: ISO 639-1 code; empty: heard from the first words.
        prompt: words or spelling to lean towards; may be empty.
        temperature: 0 is greedy; above, words are sampled.
        timed: whether each word's time is wanted.
    """

    task: Task = "transcribe"
    language: str = ""
    prompt: str = ""
    temperature: float = 0.0
    timed: bool = False


@dataclass(frozen=True)
class Transcribe:
    """A recording to be written down.

    Args:
        audio: the uploaded file, at its beginning.
        manner: how to listen.
        rank: who goes first at the model; 0 is a live caller.
        room: whose language holds when none is given; empty: the recording's own.
    """

    audio: BinaryIO
    manner: Manner
    rank: int = 0
    room: str = ""


@dataclass(frozen=True)
class Span:
    """A stretch of voice, in samples."""

    start: int
    end: int


@dataclass(frozen=True)
class Window:
    """A piece of a recording that Whisper hears at once, at most 28 s.

    Args:
        start_s: where it begins in the recording.
        samples: its sound.
        spans: where the voice is, in samples of this window.
    """

    start_s: float
    samples: Samples
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Word:
    """A word as it is spaced in the text, with its place in the recording, in seconds."""

    text: str
    start_s: float
    end_s: float
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Passage:
    """What was said in one window.

    Args:
        start_s: first voice, in seconds of the recording.
        end_s: end of the last voice.
        text: empty if nothing was said.
        words: empty unless times were asked for.
        avg_logprob: mean log probability of a token.
        no_speech_prob: the model's own doubt that this is speech, 0 to 1.
        compression_ratio: above 2.4 the text repeats itself.
    """

    start_s: float
    end_s: float
    text: str
    tokens: tuple[int, ...]
    words: tuple[Word, ...]
    language: str
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float


@dataclass(frozen=True)
class Finished:
    """The recording is over; its length in seconds, as decoded."""

    duration_s: float


@dataclass(frozen=True)
class Transcript:
    """Everything that was said in a recording."""

    passages: tuple[Passage, ...]
    duration_s: float

    @property
    def text(self) -> str:
        """All passages as one text."""
        return " ".join(p.text for p in self.passages)

    @property
    def language(self) -> str:
        """Language of the first passage; empty if nothing was said."""
        return self.passages[0].language if self.passages else ""
