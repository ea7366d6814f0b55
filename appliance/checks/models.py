"""The models in use are here, with the right bytes."""

from __future__ import annotations

from appliance.catalogue import Catalogue, verify_quick
from appliance.catalogue.digests import models_in_use
from appliance.checks.finding import Finding, ok
from appliance.settings import Settings

CHECKS = "The models in use are installed and undamaged."


def look(settings: Settings) -> Finding:
    """Presence and digest.

    Raises:
        ApplianceError: one is missing or damaged; says how to fetch it.
    """
    verify_quick(settings)
    names = [model.id for model in models_in_use(settings, Catalogue(settings))]
    return ok(f"In use: {', '.join(names) or 'none of its own, all are remote'}.")
