"""A room without an agent, in which a browser tries its way to the media ports. It takes no seat."""

from __future__ import annotations

import secrets
from typing import Annotated

from pydantic import BaseModel, StringConstraints

from appliance.checks.media_address import offered_address
from appliance.errors import NotReady
from appliance.settings import Settings
from services.panel.rooms import Rooms, Visitor

PREFIX = "doctor-"
MOST = 8
_TTL_S = 60
RoomName = Annotated[str, StringConstraints(pattern=r"^doctor-[0-9a-f]{16}$")]


class TestRoom(BaseModel):
    """The way in, and what the browser should meet there. It goes by itself when nobody is in it."""

    room_name: str
    url: str
    token: str
    address: str
    """What callers are offered for media; empty where another media server is used."""
    udp_port: int
    tcp_port: int


async def open_room(settings: Settings, rooms: Rooms, url: str) -> TestRoom:
    """Make a room for one test.

    Raises:
        NotReady: the media server does not answer, or too many tests are under way.
    """
    open_ones = [name for name in await rooms.names() if name.startswith(PREFIX)]
    if len(open_ones) >= MOST:
        raise NotReady(
            "not_ready", "Too many connection tests are under way.", "Try again in a minute.",
            can_retry=True,
        )  # fmt: skip
    name = PREFIX + secrets.token_hex(8)
    await rooms.create(name)
    token = rooms.token(name, Visitor(identity=f"browser-{name}", name="Doctor", ttl_s=_TTL_S))
    own = not settings.livekit.url
    return TestRoom(
        room_name=name, url=url, token=token.token, address=offered_address(settings) if own else "",
        udp_port=settings.livekit.udp_port, tcp_port=settings.livekit.tcp_port,
    )  # fmt: skip
