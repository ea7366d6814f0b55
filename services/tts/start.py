"""A voice breathes in before it speaks; whoever waits for an answer need not hear that."""

from __future__ import annotations

import numpy as np

from appliance.audio import Samples

_AUDIBLE = 0.003
_KEPT_S = 0.025
_LONGEST_S = 0.2


class Start:
    """Shortens the silence at the start of a sound that comes in pieces.

    Args:
        rate_hz: the sound's.
        gain: the one it was made with.
    """

    def __init__(self, rate_hz: int, gain: float) -> None:
        self._audible = _AUDIBLE * min(gain, 1.0)
        self._kept = round(_KEPT_S * rate_hz)
        self._left = round(_LONGEST_S * rate_hz)
        self._held = np.zeros(0, np.float32)

    def after(self, samples: Samples) -> Samples:
        """What of the samples, and of quiet ones held back before, is heard.

        At most 0.2 s are cut, and 25 ms before the first audible sample stay.
        """
        if not self._left:
            return samples
        known = np.concatenate([self._held, samples])
        loud = np.flatnonzero(np.abs(known) > self._audible)
        quiet = int(loud[0]) if loud.size else len(known)
        cut = min(max(0, quiet - self._kept), self._left)
        self._left -= cut
        known = known[cut:]
        if loud.size or not self._left:
            self._left, self._held = 0, known[:0]
            return known
        self._held = known
        return known[:0]

    def rest(self) -> Samples:
        """What is held back at the end of a sound that was never audible."""
        held, self._held = self._held, self._held[:0]
        return held
