"""The end of a program that has called."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End the program with this exit code; what was printed and logged is written out first.

    LiveKit's native threads call into Python, and closing a room does not wait for the calls under
    way. One that comes back while the interpreter is being taken down ends its thread by
    unwinding, which Rust does not allow: the program aborts (SIGABRT) after its work is done. So a
    program that has loaded LiveKit goes without taking the interpreter down.
    """
    try:
        sys.stdout.flush()
    except OSError:
        # The reader left (`| head`, a closed terminal); Python would complain again while closing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if "livekit.rtc" not in sys.modules:
        sys.exit(code)
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)
