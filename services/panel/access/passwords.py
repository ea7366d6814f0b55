"""The owner's password: what it may be, and argon2id with its own defaults, two at once."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from appliance.errors import BadInput

_Result = TypeVar("_Result")
LEAST_BYTES = 12
MOST_BYTES = 1024
# Each takes 64 MiB for a tenth of a second.
_AT_ONCE = 2
_ROWS = (
    "abcdefghijklmnopqrstuvwxyz", "0123456789012345678901234567890", "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm", "azertyuiopqsdfghjklmwxcvbn", "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
)  # fmt: skip
# What is left of a guess once its digits and signs are gone.
_WORDS = """
password passwort motdepasse passphrase earshot admin administrator letmein welcome changeme secret
default iloveyou monkey dragon master sunshine princess football baseball superman trustno test tester
guest root user login clinic hospital praxis livekit whisper piper
"""
_GUESSES = frozenset(_WORDS.split())


def check_password(password: str) -> None:
    """Refuse what is too short, too long or guessed first.

    Raises:
        BadInput: says what is wrong with it.
    """
    length = len(password.encode("utf-8", "replace"))
    if length < LEAST_BYTES:
        raise BadInput(
            "password_short", f"The password is too short: at least {LEAST_BYTES} characters.",
            "A sentence of four or five words is easy to keep in mind.",
        )  # fmt: skip
    if length > MOST_BYTES:
        raise BadInput("password_long", f"The password is over {MOST_BYTES} bytes long.")
    if _is_obvious(password):
        raise BadInput(
            "password_obvious", "This password would be among the first to be guessed.",
            "Take four or five words that have nothing to do with each other.",
        )  # fmt: skip


def _is_obvious(password: str) -> bool:
    plain = password.casefold()
    core = plain.strip(_DECORATION)
    words = {_letters(plain), _letters(core.translate(_LIKE_LETTERS))}
    if len(set(plain)) < 5 or any(_is_repeated(word) for word in (plain, *words)):
        return True
    if any(word in _GUESSES for word in words):
        return True
    return any(plain in row + row or plain[::-1] in row + row for row in _ROWS)


def _letters(text: str) -> str:
    return "".join(sign for sign in text if sign.isalpha())


_DECORATION = "0123456789!?.,;:-_+*#$%&/()= "
_LIKE_LETTERS = str.maketrans("013457@$!", "oieastasi")


def _is_repeated(text: str) -> bool:
    """``earshotearshot``: one guess, written several times."""
    for size in range(1, len(text) // 2 + 1):
        part = text[:size]
        if len(text) % size == 0 and part * (len(text) // size) == text:
            return size < 6 or part in _GUESSES
    return False


class Passwords:
    """Hashes and checks, never more than two at once, never on the loop."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._nobodys = ""

    async def hash(self, password: str) -> str:
        """What is kept of a password."""
        return await self._run(partial(self._hasher.hash, password))

    async def fits(self, kept: str | None, password: str) -> bool:
        """Whether this is the password; takes as long where there is none."""
        if len(password.encode("utf-8", "replace")) > MOST_BYTES:
            return False
        if kept is None:
            self._nobodys = self._nobodys or await self.hash(secrets.token_urlsafe(32))
        fits = await self._run(partial(self._verify, kept or self._nobodys, password))
        return fits and kept is not None

    def is_outdated(self, kept: str) -> bool:
        """Whether the library's defaults have become stronger since."""
        return self._hasher.check_needs_rehash(kept)

    def _verify(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        async with self._turn:
            return await asyncio.to_thread(work)
