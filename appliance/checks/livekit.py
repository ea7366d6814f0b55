"""The media server: its API for the programs, its TCP port for callers."""

from __future__ import annotations

import http.client
import socket
from contextlib import suppress
from urllib.parse import urlsplit

from appliance.checks.finding import Finding, fail, ok, warn
from appliance.checks.media_address import offered_address
from appliance.settings import Settings
from appliance.supervision import members

CHECKS = "The media server can be reached."
_PATIENCE_S = 2.0


def look(settings: Settings) -> Finding:
    """Its HTTP API, then the media port on the address that callers are offered."""
    own = not settings.livekit.url
    if own and not members(settings.run_dir):
        return warn("Earshot is not running.", "scripts/run starts it.")
    if not _answers(settings.livekit_http_url):
        hint = "`scripts/appliance logs livekit` shows why." if own else "Check livekit.url."
        return fail(f"The media server does not answer at {settings.livekit_http_url}.", hint)
    if not own:
        return ok(f"The media server answers at {settings.livekit_http_url}.")
    address, port = offered_address(settings), settings.livekit.tcp_port
    try:
        with socket.create_connection((address, port), timeout=_PATIENCE_S):
            return ok(
                f"It answers, and takes media at {address} (TCP {port}, UDP {settings.livekit.udp_port})."
            )
    except OSError:
        return fail(
            f"It answers its programs, but no media comes to {address}, TCP port {port}.",
            "A firewall on this machine may block it; or the address has changed: restart the box.",
        )


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=_PATIENCE_S)
    with suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/")
        return connection.getresponse().status < 500
    return False
