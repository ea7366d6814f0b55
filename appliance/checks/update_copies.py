"""What an update leaves when it is cut off: a copy of the calls that no deletion reaches."""

from __future__ import annotations

from appliance.checks.finding import Finding, ok, warn
from appliance.settings import Settings
from appliance.store.keeping import ASIDE_NAME, DRAFT_NAME, KEPT_NAME

CHECKS = "No update has left a copy of the calls, in which deleted words live on."


def look(settings: Settings) -> Finding:
    """The copy of before an update, half of one, and what a newer version wrote."""
    folder = settings.data_dir
    aside = folder / ASIDE_NAME
    left = [path for name in (KEPT_NAME, DRAFT_NAME) if (path := folder / name).exists()]
    if aside.exists():
        left.append(aside)
    if not left:
        return ok("No update has left a copy of the calls.")
    hints = []
    if left != [aside]:
        hints.append(
            "`scripts/appliance update --roll-back` ends an update that was cut off; if none was, "
            "`scripts/appliance database drop` deletes the copy."
        )
    if aside in left:
        hints.append(f"When nobody needs the calls of the newer version: `rm {aside}*`.")
    named = " and ".join(str(path) for path in left)
    return warn(
        f"An update has left {named}: calls that are deleted now stay in there.", " ".join(hints)
    )
