"""The address that callers send their sound to: found at each start, and wrong once it has changed."""

from __future__ import annotations

import json
import re
import socket
from contextlib import suppress

import psutil

from appliance.addresses import find_node_ip
from appliance.checks.finding import Finding, fail, ok, warn
from appliance.settings import Settings
from appliance.supervision import members

CHECKS = "Calls are offered an address that this machine has."
_LINE = re.compile(r"^\s*node_ip:\s*(\S+)\s*$", re.MULTILINE)


def look(settings: Settings) -> Finding:
    """What the media server was started with, against the machine's addresses now."""
    if settings.livekit.url:
        return ok("Calls use another media server.")
    offered, by_hand = offered_address(settings), bool(settings.livekit.node_ip)
    if offered in _addresses():
        return ok(f"Calls are offered {offered}.")
    if by_hand:
        return warn(
            f"Calls are offered {offered}, as livekit.node_ip says; this machine itself does not have it.",
            "That is right behind a router or in a container that hands the ports on; else mend the setting.",
        )
    if not members(settings.run_dir):
        return ok(f"Calls will be offered {find_node_ip()}.")
    return fail(
        f"Calls are offered {offered}, which this machine no longer has; it has {find_node_ip()} now.",
        "Restart the box: `scripts/appliance down && scripts/appliance run --detach`. A fixed address in the router avoids this.",
    )


def offered_address(settings: Settings) -> str:
    """The address in the media server's configuration; before a start, the one it would get."""
    with suppress(OSError, ValueError):
        text = (settings.run_dir / "livekit.yaml").read_text(encoding="utf-8")
        if found := _LINE.search(text):
            return str(json.loads(found[1]))
    return settings.livekit.node_ip or find_node_ip()


def _addresses() -> set[str]:
    return {
        one.address
        for found in psutil.net_if_addrs().values()
        for one in found
        if one.family in (socket.AF_INET, socket.AF_INET6)
    }
