"""Whether the box takes calls, or is being stopped; run by its path, because it runs every few seconds.

Nothing but the standard library is imported: our own would cost more than the answer.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

_TIMEOUT_S = 4.0


def verdict(run_dir: Path, stopping: Path) -> tuple[bool, str]:
    """Whether the container is well, and a line that says why (not).

    Args:
        run_dir: where the panel's socket is.
        stopping: `appliance.container.saying.stopping_mark`.
    """
    if stopping.exists():
        return True, "It is being stopped."
    try:
        head, body = _ask(run_dir / "panel.sock")
        if head.split(b" ", 2)[1] == b"200":
            return True, "It takes calls."
        told = json.loads(body)["programs"]
        reasons: dict[str, list[str]] = {}
        for one in told:
            if not one["ready"]:
                reasons.setdefault(one["why"] or "not ready", []).append(one["name"])
    except (OSError, ValueError, LookupError, TypeError):
        return False, "The panel does not answer."
    said = " ".join(f"{', '.join(names)}: {why}" for why, names in reasons.items())
    return False, said or "It is not ready."


def _ask(path: Path) -> tuple[bytes, bytes]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(_TIMEOUT_S)
        line.connect(str(path))
        line.sendall(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


def main() -> int:
    """Print the line; 0 well, 1 not."""
    well, why = verdict(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.write(why + "\n")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
