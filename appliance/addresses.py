"""Where the box is reached: on this machine, and by the network if its door is open."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from appliance.settings import Settings

LOOPBACK = "127.0.0.1"
HERE = ("localhost", LOOPBACK, "::1")
# Bridges of container engines and virtual machines: no caller is behind them.
_INNER_NETWORKS = ("docker", "br-", "virbr", "lxcbr", "lxdbr", "podman", "cni", "flannel", "kube")
_ROUTES = Path("/proc/net/route")
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
# What a container is called that nobody gave a name: no other machine finds it by that.
_CONTAINER_ID = re.compile(r"[0-9a-f]{12}")


def lan_address(settings: Settings) -> str:
    """The address under which the network reaches the box: the owner's, or the one found now.

    127.0.0.1 where there is no network.
    """
    return settings.livekit.node_ip or find_node_ip()


def lan_url(settings: Settings) -> str:
    """The app's address for other machines, e.g. ``https://192.168.1.20:8443``.

    Empty where the door is closed, or no network is there.
    """
    front = settings.front
    if not front.lan:
        return ""
    if front.certificate and front.names:
        # Nobody issues certificates for private addresses but to their own names.
        return f"https://{with_port(front.names[0].lower(), front.https_port, 443)}"
    address = lan_address(settings)
    return "" if address == LOOPBACK else f"https://{with_port(address, front.https_port, 443)}"


def lan_names(settings: Settings) -> list[str]:
    """Every name and address by which the https door goes: the network's first, then this machine's.

    Empty where the door is closed.
    """
    if not settings.front.lan:
        return []
    given = [name.lower() for name in settings.front.names]
    return list(dict.fromkeys([lan_address(settings), *host_names(), *given, *HERE]))


def public_url(settings: Settings) -> str:
    """The address to put into links: the owner's ``public_url``, the network's, or this machine's."""
    return settings.public_url or lan_url(settings) or settings.front_url


def has_server_before(settings: Settings) -> bool:
    """Whether ``public_url`` is of another server, which hands on what comes for the box."""
    parts = urlsplit(settings.public_url.lower())
    if not parts.hostname:
        return False
    ours = (parts.port or 443) == settings.front.https_port and parts.scheme == "https"
    return not (ours and parts.hostname in lan_names(settings))


def host_names() -> list[str]:
    """This machine's name if it has a domain, and its first label with .local; none if it has no usable one.

    Not that label alone: a host may be called ``dev``, as a domain of the internet is.
    """
    name = socket.gethostname().lower().rstrip(".")
    if not _NAME.fullmatch(name) or _CONTAINER_ID.fullmatch(name) or name.startswith("localhost"):
        return []
    short, dot, _domain = name.partition(".")
    return list(dict.fromkeys([*([name] if dot else []), f"{short}.local"]))


def with_port(host: str, port: int, usual: int) -> str:
    """As browsers write it: an IPv6 address in brackets, and no port where it goes without saying."""
    name = f"[{host}]" if ":" in host else host
    return name if port == usual else f"{name}:{port}"


def find_node_ip() -> str:
    """The IPv4 address offered to callers: the default route's, else any that is not loopback.

    Falls back to 127.0.0.1 where there is no other; WebRTC then connects nothing.
    """
    stats = psutil.net_if_stats()
    best: list[tuple[int, str]] = []
    route = _default_route_interface()
    for name, addresses in psutil.net_if_addrs().items():
        if name not in stats or not stats[name].isup:
            continue
        rank = 0 if name == route else 2 if name.startswith(_INNER_NETWORKS) else 1
        best += [
            (rank, address.address)
            for address in addresses
            if address.family == socket.AF_INET and not address.address.startswith("127.")
        ]
    return min(best, key=lambda item: item[0])[1] if best else LOOPBACK


def _default_route_interface() -> str:
    try:
        rows = [line.split() for line in _ROUTES.read_text().splitlines()[1:]]
    except OSError:
        return ""
    defaults = [
        (int(row[6]), row[0]) for row in rows if len(row) > 7 and row[1] == row[7] == "0" * 8
    ]
    return min(defaults)[1] if defaults else ""


def has_ipv6_loopback() -> bool:
    """Whether [::1] exists, so that http://localhost works whichever way a browser resolves it."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
