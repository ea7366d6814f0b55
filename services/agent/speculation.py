"""Work done before it is known to be needed: whether there is room for it, and what was in vain."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from appliance import logs
from services.agent.words import read

log = logs.get(__name__)

Kind = Literal["transcript", "reply", "prompt"]
# The share of the last ten seconds in which some task waited for a processor. Callers who wait
# for words then need every processor themselves.
_PRESSED = 85.0
_LOOK_EVERY_S = 1.0
_PRESSURE = Path("/proc/pressure/cpu")


def cpu_pressure() -> float:
    """Percent of the last ten seconds in which work waited for a processor; 0 where unknown."""
    try:
        return float(_PRESSURE.read_text(encoding="ascii").split("avg10=", 1)[1].split()[0])
    except (OSError, IndexError, ValueError):
        return 0.0


class Speculation:
    """What one call prepares ahead of time.

    Args:
        language: of the caller, ISO 639.
        pressure: percent of time in which work waits for a processor.
    """

    def __init__(self, language: str, pressure: Callable[[], float] = cpu_pressure) -> None:
        self.begun: Counter[Kind] = Counter()
        self.used: Counter[Kind] = Counter()
        self.left_out = 0
        self._language = language
        self._pressure = pressure
        self._looked = -_LOOK_EVERY_S
        self._pressed = False

    @property
    def is_pressed(self) -> bool:
        """Whether the machine has no time for what may be in vain."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_EVERY_S:
            self._looked = now
            self._pressed = self._pressure() >= _PRESSED
        return self._pressed

    def may_answer(self, words: str) -> bool:
        """Whether an answer to these words is worth preparing before the pause is judged."""
        return not self.is_pressed and read(words, self._language) != "open"

    def begin(self, kind: Kind) -> None:
        """Something is done ahead of time."""
        self.begun[kind] += 1

    def use(self, kind: Kind) -> None:
        """It was needed."""
        self.used[kind] += 1

    def close(self) -> None:
        """Say what the call has spent."""
        log.info(
            "speculation",
            left_out=self.left_out,
            prompts_read=self.begun["prompt"],
            transcripts_begun=self.begun["transcript"],
            transcripts_wasted=self.begun["transcript"] - self.used["transcript"],
            replies_begun=self.begun["reply"],
            replies_wasted=self.begun["reply"] - self.used["reply"],
        )
