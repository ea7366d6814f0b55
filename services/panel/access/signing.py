"""Signing in and out, setting the password, and the cookies of it."""

from __future__ import annotations

import asyncio
import math
import secrets
from dataclasses import dataclass
from functools import partial

from fastapi import Request, Response

from appliance import logs
from appliance.errors import ApplianceError, Refused, TooManyTries
from appliance.set_up import forget_set_up_links, is_set_up_code
from appliance.settings import Settings
from appliance.store import Store
from services.panel.access.audit import note
from services.panel.access.identity import cookie_name, cookie_of, digest_of, is_secure
from services.panel.access.passwords import Passwords, check_password
from services.panel.access.throttle import EXEMPT, KNOWN_FOR_S, Places, wait_s

log = logs.get(__name__)


class WrongPassword(ApplianceError):
    """It is not the owner's."""

    http_status = 401


@dataclass(frozen=True)
class SignedIn:
    """What the browser is given."""

    secret: str
    known: str


class Signing:
    """Everything about the owner's password and the browsers it opened."""

    def __init__(self, settings: Settings, store: Store, browser_key: str) -> None:
        self._settings = settings
        self._store = store
        self._passwords = Passwords()
        self.places = Places(browser_key)

    async def is_claimed(self) -> bool:
        """Whether a password is set."""
        return await asyncio.to_thread(self._store.owner.password_hash) is not None

    async def is_open(self, code: str) -> bool:
        """Whether the box can be set up with this link."""
        right = await asyncio.to_thread(is_set_up_code, self._settings, code)
        return right and not await self.is_claimed()

    async def set_up(self, request: Request, code: str, password: str) -> SignedIn:
        """Set the first password and sign this browser in.

        Raises:
            Refused: the link is wrong or used.
            TooManyTries: wrong links were tried too often.
            BadInput: the password is no good.
        """
        if not await self.is_open(code):
            # Once a password is set a link opens nothing: no guess is worth a line on the disk.
            if not await self.is_claimed():
                await self._count(self.places.of(request.headers))
                await note(request, "owner.set_up", result="refused")
            raise Refused(
                "set_up_link_used", "This link is wrong, or it was used already.",
                "`scripts/appliance admin reset`, typed on the box, prints a new one.",
            )  # fmt: skip
        check_password(password)
        kept = await self._passwords.hash(password)
        await asyncio.to_thread(self._store.owner.claim, kept)
        await asyncio.to_thread(forget_set_up_links, self._settings)
        await note(request, "owner.set_up", actor="owner")
        return await self._admit(request, kept)

    async def sign_in(self, request: Request, password: str) -> SignedIn:
        """Check the password and sign this browser in, under a new secret.

        Raises:
            TooManyTries: too often.
            WrongPassword: it is wrong, or none is set.
        """
        kept = await self._try(request, password, "owner.signed_in")
        signed = await self._admit(request, kept)
        await note(request, "owner.signed_in", actor="owner")
        return signed

    async def change(self, request: Request, current: str, password: str) -> SignedIn:
        """Set another password; every browser is signed out, this one at once in again.

        Raises:
            TooManyTries: too often.
            WrongPassword: the current one is not that.
            BadInput: the new one is no good.
        """
        check_password(password)
        await self._try(request, current, "password.changed")
        kept = await self._passwords.hash(password)
        await asyncio.to_thread(self._store.owner.change, kept)
        await note(request, "password.changed", object="owner")
        return await self._admit(request, kept)

    async def sign_out(self, request: Request) -> None:
        """End this browser's sign-in."""
        secret = cookie_of(request.headers)
        if not secret:
            return
        if await asyncio.to_thread(self._store.sign_ins.remove, digest_of(secret)):
            await note(request, "owner.signed_out")

    async def _try(self, request: Request, password: str, action: str) -> str:
        """Judge a password; returns the hash that it fits.

        Raises:
            TooManyTries: too often.
            WrongPassword: it is not the owner's.
        """
        place = self.places.of(request.headers)
        await self._count(place)
        kept = await asyncio.to_thread(self._store.owner.password_hash)
        if not await self._passwords.fits(kept, password) or kept is None:
            await note(request, action, result="refused")
            raise WrongPassword("password_wrong", "This is not the password.")
        await asyncio.to_thread(self._store.attempts.succeeded, place)
        if self._passwords.is_outdated(kept):
            newer = await self._passwords.hash(password)
            await asyncio.to_thread(self._store.owner.rehash, kept, newer)
            kept = newer
        return kept

    async def _count(self, place: str) -> None:
        """Count a try from here as failed, before it is judged.

        Raises:
            TooManyTries: too often.
        """
        wait: float = await asyncio.to_thread(
            self._store.attempts.begin, place, partial(wait_s, place=place), EXEMPT
        )
        if wait > 0:
            error = TooManyTries(
                "too_many_tries", f"Too many tries. The next may be made in {_spoken(wait)}.",
                "A forgotten password: `scripts/appliance admin reset`, typed on the box.",
            )  # fmt: skip
            error.retry_after_s = math.ceil(wait)
            raise error

    async def _admit(self, request: Request, kept: str) -> SignedIn:
        """A new secret, whatever the browser brought: one that was planted is worth nothing."""
        old = cookie_of(request.headers)
        if old:
            await asyncio.to_thread(self._store.sign_ins.remove, digest_of(old))
        secret = secrets.token_urlsafe(32)
        browser = request.headers.get("user-agent", "")
        await asyncio.to_thread(
            self._store.sign_ins.add, digest_of(secret), request.state.address, browser, kept
        )
        return SignedIn(secret, self.places.new())

    def give(self, request: Request, answer: Response, signed: SignedIn) -> Response:
        """Put the cookies into an answer."""
        secure = is_secure(request.headers)
        for name, value, age in (
            (cookie_name(secure=secure), signed.secret, self._settings.access.longest_s),
            (self.places.cookie(request.headers), signed.known, KNOWN_FOR_S),
        ):
            answer.set_cookie(
                name, value, max_age=age, path="/", secure=secure, httponly=True, samesite="strict"
            )
        return answer

    def take(self, request: Request, answer: Response) -> Response:
        """Have the browser forget its sign-in; it stays known."""
        secure = is_secure(request.headers)
        answer.delete_cookie(
            cookie_name(secure=secure), path="/", secure=secure, httponly=True, samesite="strict"
        )
        return answer


def signing_of(request: Request) -> Signing:
    """The app's."""
    found: Signing = request.app.state.signing
    return found


def _spoken(seconds: float) -> str:
    if seconds <= 90:
        return f"{math.ceil(seconds)} seconds"
    return f"{math.ceil(seconds / 60)} minutes"
