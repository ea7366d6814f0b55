"""How often the GPU was lost lately: a new start may bring it back, and must not be tried for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from appliance import logs
from appliance.files import write_whole

MOST = 3
WITHIN_S = 600.0
_log = logs.get(__name__)


class Losses:
    """Remembers them in one file, which outlives the container."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock

    def add(self) -> None:
        """The GPU was lost now."""
        try:
            lines = [f"{int(at)}\n" for at in [*self._lately(), self._clock()]]
            write_whole(self._path, "".join(lines))
        except OSError as error:
            # A full disk must not keep the box from ending; it then starts once more than it should.
            _log.error("loss_not_written", errno=error.errno)

    def verdict(self) -> str:
        """Why another start is not to rely on the GPU; empty if it may."""
        if len(self._lately()) < MOST:
            return ""
        return (
            f"The GPU was lost {MOST} times within {WITHIN_S / 60:.0f} minutes. "
            "Check its power, its cooling and the driver, then restart Earshot."
        )

    def _lately(self) -> list[float]:
        now = self._clock()
        try:
            found = [float(line) for line in self._path.read_text(encoding="ascii").split()]
        except (OSError, ValueError):
            return []
        # One of the future is from a clock that was wrong.
        return [at for at in found if 0 <= now - at < WITHIN_S]
