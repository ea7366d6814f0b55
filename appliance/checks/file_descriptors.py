"""How many files and connections a program may have open."""

from __future__ import annotations

import resource

from appliance.checks.finding import Finding, fail, ok, warn
from appliance.seats import seats_of
from appliance.settings import Settings

CHECKS = "Programs may open enough files."
# supervisord refuses to start below this.
LEAST = 1024
PER_SEAT = 64


def look(settings: Settings) -> Finding:
    """The soft limit of this shell, which the programs inherit."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    seats = seats_of(settings).count
    wanted = max(LEAST, 512 + PER_SEAT * seats)
    said = f"{soft:,} files may be open."
    if soft < LEAST:
        return fail(said, f"`ulimit -n {wanted}` before starting raises it.")
    if soft < wanted:
        return warn(said, f"`ulimit -n {wanted}` fits {seats} calls.")
    return ok(said)
