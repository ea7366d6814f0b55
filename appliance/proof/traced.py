"""What strace watches: the box, and for the negative control two tries to leave it."""

from __future__ import annotations

import subprocess
import sys

PUBLIC = "203.0.113.7"
"""Nobody's: an address for documentation, which the seal refuses as any other public one."""
_PACKETS = """
import contextlib, socket, sys
door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
door.sendto(b"x", (sys.argv[1], 9))
with contextlib.suppress(OSError):
    door.sendto(b"x", (sys.argv[2], 9))
"""
NOBODY = "-"


def main(far: str, module: str, *arguments: str) -> int:
    """Run the box to its end; with an address, let a child send a packet there and to ``PUBLIC``."""
    box = subprocess.Popen([sys.executable, "-P", "-m", module, *arguments])
    if far != NOBODY:
        subprocess.run([sys.executable, "-c", _PACKETS, far, PUBLIC], check=True)
    return box.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
