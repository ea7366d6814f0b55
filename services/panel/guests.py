"""What a guest holds: a join link, and for each call a secret of its own."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict, deque
from typing import ClassVar

from fastapi import Request

from appliance.addresses import public_url
from appliance.errors import ApplianceError, NotFound
from appliance.settings import Settings
from appliance.store import Session
from appliance.store.links import Link
from services.panel.calls import Clock
from services.panel.opening import desk_of

HEADER = "X-Earshot-Guest"
GUESSES = 30
GUESS_WINDOW_S = 60.0
_MOST_ADDRESSES = 1000
_ID_BYTES = 8
_MAC_BYTES = 16
_TOKEN_LENGTH = 32


class TooMany(ApplianceError):
    """Too many wrong tries from one place."""

    http_status: ClassVar[int] = 429


class Passes:
    """Signs the addresses of links and the secrets of their calls.

    Nothing of it is in the database: who has read that has no access, and the owner can be shown
    the same address again.
    """

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def token(self, link_id: str) -> str:
        """What the link's address ends with."""
        return urlsafe_b64encode(bytes.fromhex(link_id) + self._mac("link", link_id)).decode()

    def link_id(self, token: str) -> str | None:
        """Which link this is the token of; None if it is not genuine."""
        try:
            raw = urlsafe_b64decode(token.encode("ascii")) if len(token) == _TOKEN_LENGTH else b""
        except ValueError:
            return None
        link_id = raw[:_ID_BYTES].hex()
        # Made again and compared: base64 has several spellings of the same bytes.
        return link_id if hmac.compare_digest(token, self.token(link_id)) else None

    def guest(self, link_id: str, session_id: str) -> str:
        """What the guest of this call proves themselves with."""
        secret = urlsafe_b64encode(self._mac("call", session_id)).decode().rstrip("=")
        return f"{self.token(link_id)}.{secret}"

    def _mac(self, kind: str, subject: str) -> bytes:
        digest = hmac.new(self._key, f"{kind}:{subject}".encode(), hashlib.sha256).digest()
        return digest[:_MAC_BYTES]


class Guesses:
    """Slows down whoever tries addresses; a genuine link is never slowed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def count(self, address: str) -> None:
        """Note a wrong try.

        Raises:
            TooMany: there were too many from here within a minute.
        """
        now = self._clock()
        tries = self._wrong.setdefault(address, deque(maxlen=GUESSES))
        self._wrong.move_to_end(address)
        if len(self._wrong) > _MOST_ADDRESSES:
            self._wrong.popitem(last=False)
        if len(tries) == GUESSES and now - tries[0] < GUESS_WINDOW_S:
            raise TooMany(
                "too_many_tries", "Too many links that do not exist were tried from here.",
                "Wait a minute, then open the link again as it was sent.", can_retry=True,
            )  # fmt: skip
        tries.append(now)


class Guests:
    """Finds the link or the call that a guest may use."""

    def __init__(self, key: str, clock: Clock) -> None:
        self.passes = Passes(key)
        self._guesses = Guesses(clock)

    async def link(self, request: Request, token: str) -> Link:
        """The link of this token, whether or not it still opens calls.

        Raises:
            NotFound: there is none; a wrong token and a deleted link look the same.
            TooMany: too many wrong tries from there.
        """
        link_id = self.passes.link_id(token)
        if link_id is not None:
            try:
                return await asyncio.to_thread(desk_of(request).store.links.get, link_id)
            except NotFound:
                pass
        self._guesses.count(getattr(request.state, "address", ""))
        raise NotFound(
            "link_unknown", "This link does not lead anywhere.",
            "Check that it was copied whole, or ask whoever sent it for a new one.",
        )  # fmt: skip

    async def call(self, request: Request, guest: str, session_id: str) -> Session:
        """The call that this guest opened, also when its link has been taken back since.

        Raises:
            NotFound: they opened no such call.
            TooMany: too many wrong tries from there.
        """
        token = guest.partition(".")[0]
        link_id = self.passes.link_id(token)
        if link_id and hmac.compare_digest(
            guest.encode(errors="replace"), self.passes.guest(link_id, session_id).encode()
        ):
            session = await asyncio.to_thread(desk_of(request).store.sessions.get, session_id)
            if session.link_id == link_id:
                return session
        self._guesses.count(getattr(request.state, "address", ""))
        raise NotFound("session_unknown", "This call is not yours, or it is gone.")


def guests_of(request: Request) -> Guests:
    """The app's guests."""
    guests: Guests = request.app.state.guests
    return guests


def link_address(settings: Settings, passes: Passes, link: Link) -> str:
    """What is sent to the guest."""
    return f"{public_url(settings)}/join/{passes.token(link.id)}"
