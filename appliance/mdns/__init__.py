"""The box's name on its network, by multicast DNS: an option, because it sends to everybody there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from zeroconf import IPVersion, NonUniqueNameException, ServiceInfo, Zeroconf

from appliance.addresses import LOOPBACK, host_names, lan_address
from appliance.errors import ApplianceError, Refused
from appliance.settings import Settings

SERVICE = "_https._tcp.local."


def local_name(settings: Settings) -> str:
    """The name that is announced, e.g. ``box.local``.

    Raises:
        Refused: this machine has no name, or is in no network.
    """
    names = [name for name in host_names() if name.endswith(".local")]
    if not names:
        raise Refused(
            "name_missing", "This machine has no name that could be announced.",
            "Give it one (`hostnamectl set-hostname earshot`, or `hostname:` of the container).",
        )  # fmt: skip
    if lan_address(settings) == LOOPBACK:
        raise Refused("network_missing", "There is no network to announce the box's name in.")
    return names[0]


@contextmanager
def announced(settings: Settings) -> Iterator[str]:
    """Answer for the box's name on its own network until the block ends; gives the name.

    Raises:
        ApplianceError: there is no name, the network cannot be reached, or another box has the name.
    """
    name, address = local_name(settings), lan_address(settings)
    # Under its own interface alone: what a container engine has besides is nobody's to know.
    try:
        sender = Zeroconf(interfaces=[address], ip_version=IPVersion.V4Only)
    except OSError as error:
        raise ApplianceError(
            "mdns_impossible", f"The name {name} cannot be announced from {address}: "
            f"{(error.strerror or 'the network refuses it').lower()}.",
            "It needs an address of the machine's own: host networking in a container.",
        ) from error  # fmt: skip
    service = ServiceInfo(
        SERVICE, f"Earshot on {name.removesuffix('.local')}.{SERVICE}",
        port=settings.front.https_port, server=f"{name}.", parsed_addresses=[address],
        properties={"path": "/"},
    )  # fmt: skip
    try:
        sender.register_service(service)
        yield name
        sender.unregister_service(service)
    except NonUniqueNameException as error:
        raise ApplianceError(
            "mdns_taken", f"Another machine of this network goes by the name {name}.",
            "Give this one another host name.",
        ) from error  # fmt: skip
    finally:
        sender.close()
