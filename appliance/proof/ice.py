"""What the media server tells callers to ask for their own address."""

from __future__ import annotations

import ipaddress

import aiohttp
from livekit.protocol import rtc as protocol


async def handed_out(url: str, token: str) -> list[str]:
    """The STUN and TURN addresses in the server's answer to a joining client.

    Args:
        url: LiveKit's websocket address.
        token: a token that may join a room.
    """
    query = {"access_token": token, "protocol": "16", "sdk": "python", "auto_subscribe": "0"}
    async with (
        aiohttp.ClientSession(trust_env=False) as http,
        http.ws_connect(f"{url}/rtc", params=query, timeout=aiohttp.ClientWSTimeout(10)) as socket,
    ):
        while True:
            message = protocol.SignalResponse()
            message.ParseFromString(await socket.receive_bytes(timeout=10))
            if message.WhichOneof("message") == "join":
                return [url for server in message.join.ice_servers for url in server.urls]


def public(urls: list[str], own: set[str]) -> list[str]:
    """Those that do not name this machine by its address."""
    return [url for url in urls if not _is_own(url, own)]


def _is_own(url: str, own: set[str]) -> bool:
    host = url.split(":", 1)[1].split("?", maxsplit=1)[0].rsplit(":", 1)[0].strip("[]/")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or str(address) in own
