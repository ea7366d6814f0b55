"""The path of a unix socket holds 107 bytes."""

from __future__ import annotations

import os

from appliance.checks.finding import Finding, fail, ok
from appliance.settings import Settings

CHECKS = "The programs' sockets have paths short enough for Linux."
LONGEST = 107


def look(settings: Settings) -> Finding:
    """The longest name in the run folder."""
    length = len(os.fsencode(settings.socket("supervisor")))
    if length > LONGEST:
        return fail(
            f"The path of {settings.socket('supervisor')} has {length} bytes; Linux allows {LONGEST}.",
            "Set APPLIANCE_DATA_DIR or XDG_RUNTIME_DIR to a shorter folder.",
        )
    return ok(f"The sockets lie in {settings.run_dir}.")
