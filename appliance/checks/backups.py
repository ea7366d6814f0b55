"""The backups: a box that dies takes with it what was not copied."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from appliance.backup.nights import is_ahead
from appliance.backup.shelf import Shelf
from appliance.checks.finding import Finding, ok, warn
from appliance.settings import Settings

CHECKS = "There is a backup of the last days, none is damaged, and no restore left calls behind."
# One night may fail, and the box may have been off.
_OLD = timedelta(days=3)
_HOW = "`scripts/appliance backup create` makes one at once and says what is in its way."


def look(settings: Settings) -> Finding:
    """Key, age and state; the digests are those of the last check."""
    if aside := sorted(settings.data_dir.glob("before-restore-*")):
        return warn(
            f"What was there before a restore is still in {aside[0]}: calls that nothing deletes.",
            f"Delete it when all is well: `rm -r {aside[0]}` (in Docker after "
            "`docker compose run --rm -T --no-deps earshot`).",
        )
    if not settings.backup.recipient:
        return warn(
            "No backups are made: no key is set for which they could be sealed.",
            "`scripts/appliance backup key` makes one.",
        )
    backups = Shelf(settings).all()
    ours = [one for one in backups if one.state == "whole"]
    if damaged := [one.name for one in backups if one.state == "damaged"]:
        return warn(
            f"Damaged: {', '.join(damaged)}.", "Delete it on the page Backups; look at its disk."
        )
    if not ours:
        return warn("There is no backup yet.", _HOW)
    now = datetime.now(UTC)
    if ahead := [one for one in backups if is_ahead(one, now)]:
        return warn(
            f"Made as if of {ahead[0].made_at:%Y-%m-%d}: {ahead[0].name}. The clock was wrong then, and the "
            "backup takes no turn in being deleted.",
            "Delete it on the page Backups when newer ones are there; look at the clock.",
        )
    age = now - ours[0].made_at
    if age > _OLD:
        return warn(f"The newest backup is {age.days} days old.", _HOW)
    return ok(f"The newest backup is of {ours[0].made_at:%Y-%m-%d %H:%M} UTC.")
