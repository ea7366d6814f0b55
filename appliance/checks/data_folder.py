"""The data folder: transcripts and keys lie in it."""

from __future__ import annotations

import os
import stat

from appliance.checks.finding import Finding, fail, ok
from appliance.settings import Settings

CHECKS = "The data folder can be written, and by its owner alone."
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def look(settings: Settings) -> Finding:
    """Owner, mode, writability."""
    folder = settings.data_dir
    if not folder.exists():
        above = next(parent for parent in folder.parents if parent.exists())
        if os.access(above, os.W_OK | os.X_OK):
            return ok(f"{folder} will be made at the first start.")
        return fail(
            f"{folder} cannot be made: {above} cannot be written.",
            "Set APPLIANCE_DATA_DIR to a folder that you own.",
        )
    if not folder.is_dir():
        return fail(f"{folder} is not a folder.", "Remove it, or set APPLIANCE_DATA_DIR.")
    info = folder.stat()
    if info.st_uid != os.getuid():
        return fail(
            f"{folder} belongs to another user.",
            "Run Earshot as that user, or set APPLIANCE_DATA_DIR to a folder that you own.",
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        return fail(f"{folder} cannot be written.", f"`chmod 700 {folder}` mends it.")
    if info.st_mode & _OTHERS:
        return fail(
            f"Other users of this machine can look into {folder}.",
            f"`chmod 700 {folder}` mends it.",
        )
    return ok(f"{folder} is yours alone.")
