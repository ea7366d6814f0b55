"""Who sends a request: found from its bearer token or its cookie, before anything else is read."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from appliance.errors import ApplianceError
from appliance.settings import Settings
from appliance.store import Store
from services.panel.access.principal import Principal, Scope

KEY_PREFIX = "earshot_"
_KEY = re.compile(r"earshot_([0-9a-f]{16})_([A-Za-z0-9_-]{43})\Z")
_COOKIE = re.compile(r"[A-Za-z0-9_-]{43}\Z")


class NotSignedIn(ApplianceError):
    """Nobody has proved who they are."""

    http_status = 401


def digest_of(secret: str) -> str:
    """What is kept of a long random secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def cookie_name(*, secure: bool) -> str:
    """The cookie's name; browsers refuse the prefix where there is no https."""
    return "__Host-earshot" if secure else "earshot"


def is_secure(headers: Headers) -> bool:
    """Whether the browser came by https. The front door says so, and overwrites what it was told."""
    return headers.get("x-forwarded-proto") == "https"


def address_of(headers: Headers) -> str:
    """Where a request comes from: the last hop that the front door saw, or this machine's socket."""
    forwarded = headers.get("x-forwarded-for", "")
    return forwarded.rpartition(",")[2].strip()[:64] or "local"


def bearer_of(headers: Headers) -> str | None:
    """The bearer token, empty for another kind of authorization; None if there is none."""
    given = headers.get("authorization")
    if given is None:
        return None
    kind, _, token = given.partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def cookie_of(headers: Headers) -> str:
    """The sign-in's secret, or empty."""
    cookies = cookie_parser(headers.get("cookie", ""))
    value = cookies.get(cookie_name(secure=is_secure(headers)), "")
    return value if _COOKIE.match(value) else ""


def is_background(headers: Headers) -> bool:
    """Whether an open page asks by itself: such a request keeps nobody signed in."""
    return "x-earshot-background" in headers or headers.get("accept") == "text/event-stream"


def new_key() -> tuple[str, str]:
    """Id and whole text of a new key."""
    key_id = secrets.token_hex(8)
    return key_id, f"{KEY_PREFIX}{key_id}_{secrets.token_urlsafe(32)}"


class Identity:
    """Finds the sender of a request."""

    def __init__(self, settings: Settings, store: Store, local_token: str) -> None:
        self._limits = settings.access
        self._store = store
        self._local = digest_of(local_token)

    async def find(self, headers: Headers) -> Principal | None:
        """Who this is; a bearer token decides alone, and a cookie beside it is not looked at.

        Raises:
            NotSignedIn: a bearer token opens nothing.
        """
        token = bearer_of(headers)
        if token is None:
            return await self._owner(headers)
        if hmac.compare_digest(digest_of(token), self._local):
            return Principal("command", "command", frozenset({Scope.ADMIN}))
        if found := _KEY.match(token):
            key = await asyncio.to_thread(self._store.api_keys.find, found[1], digest_of(token))
            if key is not None:
                return Principal(
                    "key", key.name, frozenset(Scope(name) for name in key.scopes), key.id
                )
        raise NotSignedIn(
            "not_signed_in", "This key opens nothing: it is wrong, expired or revoked.",
            "The owner of the box makes keys on the page Access.",
        )  # fmt: skip

    async def _owner(self, headers: Headers) -> Principal | None:
        secret = cookie_of(headers)
        if not secret:
            return None
        limits = self._limits
        found = await asyncio.to_thread(
            self._store.sign_ins.find, digest_of(secret), limits.idle_s, limits.longest_s,
            noted=not is_background(headers),
        )  # fmt: skip
        return Principal("owner", "owner", frozenset({Scope.ADMIN})) if found else None
