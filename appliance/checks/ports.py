"""The ports are free, or already this box's own."""

from __future__ import annotations

import socket
from contextlib import suppress

import psutil

from appliance.checks.finding import Finding, ok
from appliance.preflight import check_ports, ports
from appliance.settings import Settings
from appliance.supervision import members

CHECKS = "The ports are free, or this box's own."


def look(settings: Settings) -> Finding:
    """Each port once.

    Raises:
        ApplianceError: one is taken; names who has it.
    """
    ours = {process.pid for process in members(settings.run_dir)}
    numbers = sorted({port.number for port in ports(settings)})
    if ours and numbers_held(ours) >= set(numbers):
        return ok(f"This box has its ports: {', '.join(map(str, numbers))}.")
    check_ports(settings)
    return ok(f"Free: {', '.join(map(str, numbers))}.")


def numbers_held(pids: set[int]) -> set[int]:
    """Ports on which one of these processes listens."""
    held: set[int] = set()
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="inet"):
            listens = (
                connection.status == psutil.CONN_LISTEN or connection.type == socket.SOCK_DGRAM
            )
            if connection.pid in pids and listens and connection.laddr:
                held.add(connection.laddr.port)
    return held
