"""Memory for the selected models."""

from __future__ import annotations

import psutil

from appliance.checks.finding import Finding, fail, ok, warn
from appliance.seats import PROGRAMS_MB, models_mb, seats_of
from appliance.settings import Settings
from appliance.supervision import members

CHECKS = "There is memory for the models in use."


def look(settings: Settings) -> Finding:
    """What the models and programs need against what the machine has."""
    needed = PROGRAMS_MB + models_mb(settings)
    machine = psutil.virtual_memory()
    total, free = machine.total // 2**20, machine.available // 2**20
    seats = seats_of(settings)
    said = (
        f"About {needed:,} MB are needed; the machine has {total:,} MB, {free:,} MB of it free. "
        f"Seats: {seats.count} ({seats.why})."
    )
    hint = "Close other programs, or choose smaller models with `scripts/appliance models list`."
    if needed > total:
        return fail(said, hint)
    if needed > free and not members(settings.run_dir):
        return warn(said, hint)
    return ok(said)
