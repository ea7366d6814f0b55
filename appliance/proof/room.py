"""A network namespace with loopback and one cable to nowhere."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from appliance.errors import NotReady

NEAR, FAR = "10.99.0.1", "10.99.0.2"
_ROUTES = Path("/proc/net/route")
_ROUTES_OF_IPV6 = Path("/proc/net/ipv6_route")
_REJECTED = 0x200
_SIOCDELRT = 0x890C
_RTENTRY_BYTES = 120
TOOLS = {"strace": "strace", "ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux"}


def require_tools() -> None:
    """Name what the proof needs and the machine lacks.

    Raises:
        NotReady: something is missing.
    """
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        packages = " ".join(sorted({TOOLS[tool] for tool in missing}))
        raise NotReady(
            "tools_missing", f"The proof needs {', '.join(missing)}.",
            f"Install with: apt-get install -y {packages}",
        )  # fmt: skip


def enter_command() -> list[str]:
    """What runs a command in namespaces of its own; root is not needed.

    The process namespace is there for the end: when this command dies, so does all it started.
    """
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--net", "--pid", "--mount-proc", "--kill-child", "--fork"]


@contextmanager
def cable() -> Iterator[None]:
    """Bring up loopback and a veth pair whose far end lies in another namespace; no route."""
    far = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    try:
        _wait_for_namespace(far.pid)
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", "earshot0", "type", "veth", "peer", "name", "earshot1")
        _run("ip", "link", "set", "earshot1", "netns", str(far.pid))
        _run("ip", "address", "add", f"{NEAR}/24", "dev", "earshot0")
        _run("ip", "link", "set", "earshot0", "up")
        inside = ("nsenter", "--net", "--target", str(far.pid))
        _run(*inside, "ip", "address", "add", f"{FAR}/24", "dev", "earshot1")
        _run(*inside, "ip", "link", "set", "earshot1", "up")
        yield
    finally:
        far.kill()
        far.wait()


def _wait_for_namespace(pid: int) -> None:
    """Return once the process has left our namespace; it does so before it becomes `sleep`."""
    here = os.readlink("/proc/self/ns/net")  # noqa: PTH115
    while psutil.pid_exists(pid) and os.readlink(f"/proc/{pid}/ns/net") == here:  # noqa: PTH115
        os.sched_yield()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotReady(
            "no_namespace", f"`{' '.join(command)}` was refused here: {done.stderr.strip()}.",
            "Run the proof as root, or allow unprivileged user namespaces.",
        )  # fmt: skip


def lan_addresses() -> list[str]:
    """This namespace's IPv4 addresses but loopback's."""
    return [str(one.ip) for one in _interfaces()]


def neighbour() -> str:
    """An address of the same network that is not ours."""
    own = own_addresses()
    return next(
        str(host) for one in _interfaces() for host in one.network.hosts() if str(host) not in own
    )


def require_no_way_out() -> None:
    """Pass if no route leads out of this network.

    Raises:
        NotReady: one does.
    """
    for interface in [*(name for name, _ in _default_routes()), *_default_routes_of_ipv6()]:
        raise NotReady(
            "way_out", f"This network has a way out, by {interface}: nothing can be proved here."
        )


def take_routes_away() -> None:
    """Leave this network without a way out; Docker gives its inner networks one that leads nowhere.

    Raises:
        NotReady: this process may not.
    """
    any_address = struct.pack("HH4s8x", socket.AF_INET, 0, bytes(4))
    for interface, gateway in _default_routes():
        to = struct.pack("HH4s8x", socket.AF_INET, 0, gateway)
        route = struct.pack("L16s16s16sHhLPh", 0, any_address, to, any_address, 3, 0, 0, 0, 0)
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
                fcntl.ioctl(door, _SIOCDELRT, route.ljust(_RTENTRY_BYTES, b"\0"))
        except OSError as error:
            raise NotReady(
                "no_namespace", f"The route by {interface} cannot be taken away: {error.strerror}."
            ) from error


def _default_routes() -> list[tuple[str, bytes]]:
    """Interface and gateway of every way out."""
    rows = [line.split() for line in _ROUTES.read_text().splitlines()[1:]]
    # The kernel writes addresses as numbers of its own byte order.
    return [
        (row[0], int(row[2], 16).to_bytes(4, sys.byteorder)) for row in rows if row[1] == "00000000"
    ]


def _default_routes_of_ipv6() -> list[str]:
    if not _ROUTES_OF_IPV6.exists():
        return []
    rows = [line.split() for line in _ROUTES_OF_IPV6.read_text().splitlines()]
    return [
        row[9] for row in rows
        if row[1] == "00" and int(row[0], 16) == 0 and not int(row[8], 16) & _REJECTED
    ]  # fmt: skip


def _interfaces() -> list[ipaddress.IPv4Interface]:
    found = (
        ipaddress.IPv4Interface(f"{entry.address}/{entry.netmask}")
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == socket.AF_INET
    )
    return [one for one in found if not one.is_loopback]


def own_addresses() -> set[str]:
    """Every address of this namespace."""
    return {
        entry.address.split("%")[0]
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family in (socket.AF_INET, socket.AF_INET6)
    }
