"""What the voice is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from appliance.serving import Rank

RATE_HZ = 24_000
"""Rate of everything this service answers, as OpenAI's pcm."""

SpeechFormat = Literal["pcm", "wav", "flac", "mp3", "opus"]


@dataclass(frozen=True)
class Speak:
    """One text to be spoken."""

    text: str
    voice: str
    """Id of an installed voice; empty: the selected one."""
    speed: float = 1.0
    """1 is the voice's own pace, 2 twice as fast."""
    kind: SpeechFormat = "pcm"
    rank: Rank = field(default_factory=Rank)
