"""``python -m appliance.cli``."""

from __future__ import annotations

from appliance.settings import seal_environment

seal_environment()

import os

from appliance.cli import main
from appliance.leaving import leave

if __name__ == "__main__":
    # What the box keeps belongs to its owner alone.
    os.umask(0o077)
    leave(main())
