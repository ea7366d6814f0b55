"""What a start tells the owner: where the box is, and how to set the first password."""

from __future__ import annotations

from appliance.addresses import lan_url
from appliance.errors import ApplianceError
from appliance.set_up import link_while_unclaimed
from appliance.settings import Settings


def addresses(settings: Settings) -> list[str]:
    """A line for each way in."""
    lines = [f"On this machine: {settings.front_url}"]
    if there := settings.public_url or lan_url(settings):
        lines.append(f"In the network:  {there}")
    return lines


def set_up_lines(settings: Settings) -> list[str]:
    """What the owner has to read while no password is set: the link, for each way in."""
    try:
        link = link_while_unclaimed(settings)
    except ApplianceError as error:
        # The box runs; `admin reset` prints a link, too, and says what keeps it from doing so.
        return [f"No link to set the password could be made. {error}"]
    if not link:
        return []
    return [
        "No password is set yet. Open this link to set it; it works once:",
        *each_way(settings, link),
    ]


def each_way(settings: Settings, link: str) -> list[str]:
    """A set-up link for this machine, and for the network where the box is reached from there."""
    code = "/set-up" + link.partition("/set-up")[2]
    ways = dict.fromkeys([settings.front_url, settings.public_url or lan_url(settings)])
    return [way + code for way in ways if way]
