"""Nothing leaves the box: the switches are set in every program that runs."""

from __future__ import annotations

from contextlib import suppress

import psutil

from appliance.checks.finding import Finding, fail, ok, warn
from appliance.settings import SEAL_LIBRARY, Settings
from appliance.supervision import members

CHECKS = "Every program runs with the offline switches."
# The two without which a library reaches outside by itself; the others go with them.
SWITCHES = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}


def look(settings: Settings) -> Finding:
    """The environment of each running program, and the library that refuses public addresses."""
    open_ones = []
    running = members(settings.run_dir)
    for process in running:
        with suppress(psutil.Error, OSError):
            environment = process.environ()
            if any(environment.get(name) != value for name, value in SWITCHES.items()):
                open_ones.append(f"{process.name()} ({process.pid})")
    if open_ones:
        return fail(
            f"Without the offline switches: {', '.join(open_ones)}.",
            "Stop Earshot and start it with scripts/run.",
        )
    if not SEAL_LIBRARY.is_file():
        return warn(
            "The library that refuses public addresses is not built.", "scripts/setup builds it."
        )
    return ok(
        f"All {len(running)} processes run with them."
        if running
        else "They are set at every start."
    )
