"""Which names and addresses the box's certificate authority may sign for, and whom a certificate covers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from cryptography import x509
from cryptography.x509 import Certificate, NameConstraints

# A device that trusts this authority trusts it for these alone, whoever gets hold of its key.
NETWORKS = (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8",
    "fc00::/7", "fe80::/10", "::1/128",
)  # fmt: skip
SUFFIXES = ("localhost", "local")


def constraints(names: Iterable[str]) -> NameConstraints:
    """Private networks, this machine, ``.local``, and those of the given names that lie outside.

    A name that is permitted brings whatever lies below it, so names of one label are left out.
    """
    networks = [ipaddress.ip_network(one) for one in NETWORKS]
    suffixes = list(SUFFIXES)
    for name in names:
        address = as_address(name)
        if address is None:
            if not _below(name, suffixes) and not is_one_label(name):
                suffixes.append(name.lower())
        elif not any(address in network for network in networks):
            networks.append(ipaddress.ip_network(address))
    return x509.NameConstraints(
        [*map(x509.DNSName, suffixes), *map(x509.IPAddress, networks)], None
    )


def permits(certificate: Certificate, name: str) -> bool:
    """Whether this authority may sign for a name or an address."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return True
    permitted = found.permitted_subtrees or []
    address = as_address(name)
    if address is None:
        return _below(name, [one.value for one in permitted if isinstance(one, x509.DNSName)])
    networks = [
        ipaddress.ip_network(one.value) for one in permitted if isinstance(one, x509.IPAddress)
    ]
    return any(address in network for network in networks)


def names_of(certificate: Certificate) -> list[str]:
    """Every DNS name and address in a certificate."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [
        str(one.value).lower() for one in found if isinstance(one, x509.DNSName | x509.IPAddress)
    ]


def covers(certificate: Certificate, name: str) -> bool:
    """Whether a browser that asked for this name accepts the certificate; ``*.`` stands for one label."""
    known = names_of(certificate)
    wanted = str(as_address(name) or name.lower())
    _, dot, parent = wanted.partition(".")
    wild = f"*.{parent}" if dot and as_address(name) is None else wanted
    return wanted in known or wild in known


def is_one_label(name: str) -> bool:
    """Whether this could be the top of the internet's names, as ``dev`` is; localhost cannot."""
    return "." not in name and as_address(name) is None and name.lower() not in SUFFIXES


def as_address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that this is, if it is one."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _below(name: str, suffixes: Iterable[str]) -> bool:
    return any(name.lower() == one or name.lower().endswith("." + one) for one in suffixes)
