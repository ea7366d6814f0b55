"""``python -m appliance.container``: what the image's entrypoint runs."""

from __future__ import annotations

from appliance.settings import seal_environment

seal_environment()

import os
import sys

from appliance import logs
from appliance.container import hold
from appliance.errors import ApplianceError
from appliance.settings import load_settings


def main() -> int:
    """Hold the box; a failure is one sentence on stderr."""
    # What the box keeps belongs to its owner alone.
    os.umask(0o077)
    # The programs' own lines are in files; of this one only what is wrong is wanted among its report.
    logs.configure("box", "warning")
    try:
        return hold(load_settings())
    except ApplianceError as error:
        if error.code == "data_folder_unusable":
            error.hint = f"What is mounted there must belong to user {os.getuid()}."
        sys.stderr.write(f"Earshot cannot start: {error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
