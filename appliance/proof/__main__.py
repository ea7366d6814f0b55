"""Inside the namespace: start the box under strace, hold a call, watch, write the report."""

from __future__ import annotations

from appliance.settings import seal_environment

seal_environment()

import sys
from pathlib import Path

from appliance.proof.watching import watch

if __name__ == "__main__":
    sys.exit(watch(Path(sys.argv[1])))
