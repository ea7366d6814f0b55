"""How much sound to make at a time: little at first, then as much as the listener's lead allows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

_FIRST_FRAMES = 16
_MOST_FRAMES = 128
"""A stop is seen between two pieces; longer ones would save little."""

_UNHEARD_FRAMES = 7
"""Of a first piece: the breath that is cut from it, and what the resampler holds back."""

_SAFETY = 1.5
"""A piece may take so many times longer than expected before the sound runs dry."""

_NEWEST = 0.5
# A machine that has become slower is believed at once, a faster one by the length of the proof.
_PROOF_FRAMES = 320
_SLOWEST = 100.0


class Speed:
    """How long a frame of sound takes to make, in frames' own length; learned from the work."""

    def __init__(self, frame_s: float, margin: float, cost: float) -> None:
        """``margin``: what each piece costs beyond its own, in frames; ``cost``: a first guess."""
        self.frame_s = frame_s
        self._margin = margin
        self._cost = cost

    @property
    def keeps_up(self) -> bool:
        """Whether sound is made faster than it is heard, with some to spare."""
        return self._cost * _SAFETY < 1

    def took(self, frames: int, seconds: float) -> None:
        """Learn from one piece."""
        cost = min(_SLOWEST, seconds / ((frames + self._margin) * self.frame_s))
        weight = _NEWEST if cost > self._cost else min(_NEWEST, frames / _PROOF_FRAMES)
        self._cost += weight * (cost - self._cost)

    def first(self) -> float:
        """The shortest first piece, in frames, after which a second can be made in time."""
        share = _SAFETY * self._cost
        if not self.keeps_up:
            return math.inf
        return max(_FIRST_FRAMES, (share * self._margin + _UNHEARD_FRAMES) / (1 - share))

    def within(self, seconds: float) -> float:
        """How many frames can be made in that time."""
        return seconds / self.frame_s / (_SAFETY * self._cost) - self._margin


class Lead:
    """How far ahead of a listener who began at the first sound a request is."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._begun_at: float | None = None
        self._sent_s = 0.0

    def sent(self, seconds: float) -> None:
        """So much more sound is on its way."""
        if self._begun_at is None and seconds > 0:
            self._begun_at = self._now()
        self._sent_s += seconds

    @property
    def seconds(self) -> float | None:
        """Sound that the listener has not heard yet; None before the first."""
        if self._begun_at is None:
            return None
        return self._begun_at + self._sent_s - self._now()

    @property
    def runs_dry_at(self) -> float:
        """When the listener hears nothing any more, on the monotonic clock; now, before the first."""
        return self._now() if self._begun_at is None else self._begun_at + self._sent_s


def next_piece(speed: Speed, lead: Lead | None, before: int, left: int) -> int:
    """How many frames to make next.

    Args:
        speed: of this voice on this machine.
        lead: of this request; None if nobody hears it before it is complete.
        before: frames of the sentence's piece before; 0 for its first.
        left: frames of the sentence that are still to be made; the answer is not more.
    """
    wish: float = _MOST_FRAMES
    if lead is not None:
        seconds = lead.seconds
        wish = speed.first() if seconds is None else max(_FIRST_FRAMES, speed.within(seconds))
        # Never less than before: for a listener who has run dry, small pieces cost the most.
        wish = max(wish, before)
        wish = min(wish, max(_MOST_FRAMES, speed.first()))
    # No crumb at the end.
    return left if wish * 1.5 >= left else math.ceil(wish)
