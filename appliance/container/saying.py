"""What `docker logs` shows: how the start goes, where the box is reached, what is given up."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from appliance import __version__
from appliance.gpu import reader_of
from appliance.settings import Settings
from appliance.status import BoxStatus, ProgramStatus
from appliance.welcome import addresses, set_up_lines

# What is worth a line besides "ready".
_TOLD = ("failed", "given_up", "restarting", "silent")


def stopping_mark() -> Path:
    """The file that says to the health check that the box is being stopped."""
    # In the data volume it would outlive the container and call the next one healthy.
    return Path(tempfile.gettempdir()) / "earshot-stopping"


class Saying:
    """One plain line per event, on stdout."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._began = time.monotonic()
        self._known: dict[str, ProgramStatus] = {}
        self._was_ready = False

    def opening(self) -> None:
        """What was found before anything is started."""
        version, data = __version__, self._settings.data_dir
        self._say(f"Earshot {version} starts; data in {data}, user {os.getuid()}.")
        gpu = reader_of(self._settings).read()
        if gpu.is_present:
            self._say(f"GPU: {gpu.name}, driver {gpu.driver}")
        elif self._settings.gpu != "required":
            # Otherwise the start itself says what that means.
            self._say(f"GPU: {gpu.why}")
        # A folder that cannot be used is said by the start itself.
        with suppress(OSError):
            stopping_mark().unlink()

    def warn(self, sentence: str) -> None:
        """Something that needs the owner's eye."""
        self._say(f"Warning: {sentence}")

    def progress(self, box: BoxStatus) -> None:
        """Programs that became ready."""
        self.changes(box)

    def ready(self, box: BoxStatus) -> None:
        """The page is up, and the rest unless it failed."""
        self.changes(box)
        if not box.ready:
            self._say("Earshot takes no calls yet; the panel shows what is missing.")
        for line in [*addresses(self._settings), *set_up_lines(self._settings)]:
            self._say(line)

    def changes(self, box: BoxStatus) -> None:
        """What is otherwise than it was when this was last asked; programs with one reason together."""
        fallen: dict[str, list[str]] = {}
        for one in box.programs:
            before = self._known.get(one.name)
            self._known[one.name] = one
            if before is not None and one.restarts > before.restarts:
                self._say(f"{one.name} ended and is started again ({one.restarts} times so far).")
            if before is not None and before.state == one.state:
                continue
            if one.ready:
                self._say(f"{one.name} is ready after {time.monotonic() - self._began:.1f} s.")
            elif one.state in _TOLD:
                state = one.state.replace("_", " ")
                fallen.setdefault(f"{state}: {one.why}", []).append(one.name)
        for what, names in fallen.items():
            self._say(f"{', '.join(names)} {what}")
        if box.ready and not self._was_ready:
            self._say("Earshot is ready.")
        self._was_ready = box.ready

    def stopping(self) -> None:
        """A stop was asked for; from now on the container is as healthy as it can be."""
        # A full disk must not keep the box from stopping.
        with suppress(OSError):
            stopping_mark().touch()
        self._say("Earshot is stopping; open calls are told.")

    def stopped(self) -> None:
        """Everything has ended."""
        self._say("Earshot has stopped.")

    def _say(self, line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
