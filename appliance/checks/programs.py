"""The programs that scripts/setup builds."""

from __future__ import annotations

from appliance.checks.finding import Finding, ok
from appliance.preflight import check_programs
from appliance.settings import Settings

CHECKS = "Every program is there and can be run."


def look(settings: Settings) -> Finding:
    """livekit-server, caddy and the Python environment.

    Raises:
        ApplianceError: names the one that is missing.
    """
    check_programs(settings)
    return ok(f"livekit-server and caddy are in {settings.programs_dir}.")
