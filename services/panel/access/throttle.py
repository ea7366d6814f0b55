"""How long the next try at the password has to wait. Tries are kept in the store.

5 a minute and 20 an hour from one place, each wait twice the one before; 100 an hour from all places
together. A browser that the owner has signed in with before is a place of its own, and neither it nor
this machine itself counts for the common limit: a stranger cannot keep the owner out.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from datetime import datetime, timedelta

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from appliance.store.access import Tries
from services.panel.access.identity import address_of, is_secure

KNOWN_FOR_S = 365 * 86400
EXEMPT = ("known:", "here:")
A_MINUTE, AN_HOUR, BY_ALL = 5, 20, 100
_LONGEST_WAIT_S = 900.0


def wait_s(tries: Tries, now: datetime, place: str) -> float:
    """Seconds until a try from this place may be made; 0: now."""
    own = tries.own
    waits = [
        _until_gone(own, A_MINUTE, timedelta(minutes=1), now),
        _until_gone(own, AN_HOUR, timedelta(hours=1), now),
    ]
    if len(own) >= A_MINUTE:
        pause = min(_LONGEST_WAIT_S, 2.0 ** (len(own) - A_MINUTE))
        waits.append(pause - (now - own[-1]).total_seconds())
    if not place.startswith(EXEMPT):
        waits.append(_until_gone(tries.everywhere, BY_ALL, timedelta(hours=1), now))
    return max(0.0, *waits)


def _until_gone(tries: list[datetime], allowed: int, window: timedelta, now: datetime) -> float:
    """Seconds until fewer than ``allowed`` tries lie within the window."""
    within = [at for at in tries if at > now - window]
    if len(within) < allowed:
        return 0.0
    return (within[-allowed] + window - now).total_seconds()


class Places:
    """Names the place that a try comes from."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def of(self, headers: Headers) -> str:
        """A known browser, this machine, or an address (of IPv6, its network of 64 bits)."""
        cookies = cookie_parser(headers.get("cookie", ""))
        name, _, seal = cookies.get(self.cookie(headers), "").partition(".")
        if name and hmac.compare_digest(seal.encode("utf-8", "replace"), self._seal(name).encode()):
            return f"known:{name}"
        address = address_of(headers)
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return f"here:{address}" if address == "local" else address
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        if parsed.is_loopback:
            return "here:loopback"
        if parsed.version == 6:
            return str(ipaddress.ip_network((parsed, 64), strict=False))
        return str(parsed)

    def cookie(self, headers: Headers) -> str:
        """Name of the cookie by which a browser is known."""
        return "__Host-earshot-known" if is_secure(headers) else "earshot-known"

    def new(self) -> str:
        """The cookie of a browser that is now known. It opens nothing."""
        name = secrets.token_hex(16)
        return f"{name}.{self._seal(name)}"

    def _seal(self, name: str) -> str:
        return hmac.new(self._key, name.encode("utf-8", "replace"), "sha256").hexdigest()
