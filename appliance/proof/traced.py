"""What strace watches: the box, and for the negative control one packet that leaves it."""

from __future__ import annotations

import subprocess
import sys

_PACKET = "import socket, sys; socket.socket(2, 2).sendto(b'x', (sys.argv[1], 9))"
NOBODY = "-"


def main(far: str, module: str, *arguments: str) -> int:
    """Run the box to its end; with an address, let a child send one UDP packet there."""
    box = subprocess.Popen([sys.executable, "-P", "-m", module, *arguments])
    if far != NOBODY:
        subprocess.run([sys.executable, "-c", _PACKET, far], check=True)
    return box.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
