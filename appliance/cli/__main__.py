"""``python -m appliance.cli``."""

from __future__ import annotations

from appliance.settings import seal_environment

seal_environment()

import os
import sys

from appliance.cli import main

if __name__ == "__main__":
    # What the box keeps belongs to its owner alone.
    os.umask(0o077)
    code = main()
    try:
        sys.stdout.flush()
    except OSError:
        # The reader left (`| head`, a closed terminal); Python would complain again while closing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
