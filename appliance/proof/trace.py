"""What strace saw: every address that a program tried to reach."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_CALL = re.compile(r"^(?P<pid>\d+)\s+(?:<\.\.\. )?(?P<call>connect|sendto|sendmsg|sendmmsg)\b")
_IPV4 = re.compile(r'sin_port=htons\((?P<port>\d+)\), sin_addr=inet_addr\("(?P<address>[^"]+)"\)')
_IPV6 = re.compile(
    r"sin6_port=htons\((?P<port>\d+)\), (?:sin6_flowinfo=[^,]+, )?"
    r'inet_pton\(AF_INET6, "(?P<address>[^"]+)"'
)
_DNS_PORT = 53


@dataclass(frozen=True)
class Attempt:
    """One try to reach an address outside."""

    pid: int
    call: str
    address: str
    port: int
    why: str

    def __str__(self) -> str:
        return f"process {self.pid}: {self.call} to {self.address} port {self.port} ({self.why})"


def attempts(lines: Iterable[str], own: set[str]) -> Iterator[Attempt]:
    """The tries in a trace that were not to loopback or to the machine's own addresses.

    Args:
        lines: strace's output with ``-f -e trace=connect,sendto,sendmsg,sendmmsg``.
        own: the machine's own addresses.
    """
    for line in lines:
        called = _CALL.match(line)
        if not called:
            continue
        for found in (*_IPV4.finditer(line), *_IPV6.finditer(line)):
            port = int(found["port"])
            why = _objection(found["address"], port, own)
            if why:
                yield Attempt(int(called["pid"]), called["call"], found["address"], port, why)


def _objection(text: str, port: int, own: set[str]) -> str:
    """Why this destination is not the machine itself; empty if it is."""
    address = ipaddress.ip_address(text.split("%", maxsplit=1)[0])
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    if port == _DNS_PORT:
        return "a DNS query"
    if address.is_loopback or address.is_unspecified or str(address) in own:
        return ""
    return "not this machine"
