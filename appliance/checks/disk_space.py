"""Room for transcripts, logs and models."""

from __future__ import annotations

import shutil

from appliance.checks.finding import Finding, fail, ok, warn
from appliance.settings import Settings

CHECKS = "The disk of the data folder has room."
LEAST_MB = 200
COMFORTABLE_MB = 2000


def look(settings: Settings) -> Finding:
    """Free space where the data folder is or will be."""
    folder = next(
        place for place in (settings.data_dir, *settings.data_dir.parents) if place.exists()
    )
    free_mb = shutil.disk_usage(folder).free // 1_000_000
    said = f"{free_mb:,} MB are free in {folder}."
    if free_mb < LEAST_MB:
        return fail(said, f"Earshot needs {LEAST_MB} MB: free some, or move the data folder.")
    if free_mb < COMFORTABLE_MB:
        return warn(said, f"Keep {COMFORTABLE_MB:,} MB free for transcripts and logs.")
    return ok(said)
