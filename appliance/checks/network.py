"""An address besides loopback: WebRTC connects nothing without one, even on one machine."""

from __future__ import annotations

from appliance.addresses import LOOPBACK, lan_address
from appliance.checks.finding import Finding, fail, ok
from appliance.settings import Settings

CHECKS = "The machine has a network address besides loopback."
_HINT = (
    "Plug in a cable or join a network (no internet is needed), or make an address that leads nowhere: "
    "`sudo ip link add earshot0 type veth peer name earshot1 && sudo ip addr add 10.99.0.1/24 dev earshot0 "
    "&& sudo ip link set earshot0 up && sudo ip link set earshot1 up`."
)


def look(settings: Settings) -> Finding:
    """The address that callers are offered for media."""
    address = lan_address(settings)
    if address == LOOPBACK:
        return fail("Only the loopback interface is up, so calls cannot connect.", _HINT)
    return ok(f"Calls are offered {address}.")
