"""Memory for the selected models."""

from __future__ import annotations

import psutil

from appliance.catalogue import Catalogue
from appliance.catalogue.digests import models_in_use
from appliance.checks.finding import Finding, fail, ok, warn
from appliance.errors import NotFound
from appliance.settings import Settings
from appliance.supervision import members

CHECKS = "There is memory for the models in use."
# Agent, LiveKit, panel and front, with one call open.
PROGRAMS_MB = 900
# For a model whose needs nobody has written down.
_UNKNOWN_FACTOR = 1.3


def look(settings: Settings) -> Finding:
    """What the models and programs need against what the machine has."""
    try:
        models = models_in_use(settings, Catalogue(settings))
    except NotFound:
        # The check of the models says so, with the way out.
        models = []
    needed = PROGRAMS_MB
    for model in models:
        size = sum(path.stat().st_size for path in model.files.values())
        needed += model.entry.memory_mb or int(size / 1e6 * _UNKNOWN_FACTOR)
    machine = psutil.virtual_memory()
    total, free = machine.total // 2**20, machine.available // 2**20
    said = f"About {needed:,} MB are needed; the machine has {total:,} MB, {free:,} MB of it free."
    hint = "Close other programs, or choose smaller models with `scripts/appliance models list`."
    if needed > total:
        return fail(said, hint)
    if needed > free and not members(settings.run_dir):
        return warn(said, hint)
    return ok(said)
