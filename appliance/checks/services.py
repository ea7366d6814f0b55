"""Every program answers that it is ready."""

from __future__ import annotations

import asyncio

from appliance.checks.finding import Finding, fail, ok, warn
from appliance.settings import Settings
from appliance.status import box_status

CHECKS = "Every program is ready."


def look(settings: Settings) -> Finding:
    """The box's own status."""
    box = asyncio.run(box_status(settings, memory=False))
    if box.ready:
        return ok("All programs are ready.")
    if all(program.state == "stopped" for program in box.programs):
        return warn("Earshot is not running.", "scripts/run starts it.")
    waiting = [program for program in box.programs if not program.ready]
    said = "; ".join(f"{program.name} is {program.state}: {program.why}" for program in waiting)
    if all(program.state in ("starting", "loading") for program in waiting):
        return warn(said, "Wait a few seconds and ask again.")
    return fail(said, f"`scripts/appliance logs {waiting[0].name}` shows why.")
