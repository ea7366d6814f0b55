"""The clock: a token from the past lets nobody in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from appliance.catalogue.entries import CATALOGUE_FILE
from appliance.checks.finding import Finding, fail, ok
from appliance.settings import Settings

CHECKS = "The clock is not behind Earshot's own files."
# A file's time may be a little ahead when it came from another machine.
_SLACK = timedelta(days=1)


def look(settings: Settings) -> Finding:
    """Compare now with the newest of a few files that were written here before."""
    now = datetime.now(UTC)
    known = [CATALOGUE_FILE, settings.settings_file, settings.data_dir / "appliance.db"]
    newest = max(
        datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in known if path.exists()
    )
    if now + _SLACK < newest:
        return fail(
            f"The clock says {now:%Y-%m-%d %H:%M} UTC, which is before Earshot's own files ({newest:%Y-%m-%d}).",
            "Set the date; a machine without network time needs a clock battery.",
        )
    return ok(f"The clock says {now:%Y-%m-%d %H:%M} UTC.")
