"""The errors people see: what happened, what to do, whether trying again can help."""

from __future__ import annotations

from typing import ClassVar


class ApplianceError(Exception):
    """A failure that has a sentence for people and a code for programs.

    Args:
        code: stable snake_case name for programs, e.g. ``port_in_use``.
        message: what happened, one sentence, without another exception's text.
        hint: what to do about it, one sentence; may be empty.
        can_retry: whether the same request can succeed later, unchanged.
    """

    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retry_after_s: int | None = None
    """Seconds after which trying again can help, where that is known."""

    def __init__(self, code: str, message: str, hint: str = "", *, can_retry: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.can_retry = can_retry

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process pipes (pull's child); keyword-only arguments need help.
        return (_rebuild, (type(self), self.code, self.message, self.hint, self.can_retry))


def _rebuild(
    kind: type[ApplianceError], code: str, message: str, hint: str, can_retry: bool
) -> ApplianceError:
    return kind(code, message, hint, can_retry=can_retry)


class BadInput(ApplianceError):
    """The request or the file is wrong; sending it again unchanged cannot help."""

    http_status = 400
    exit_code = 2


class TooLarge(BadInput):
    """The input is over a limit."""

    http_status = 413


class NotFound(ApplianceError):
    """What was asked for does not exist."""

    http_status = 404
    exit_code = 2


class Refused(ApplianceError):
    """Understood, and not allowed."""

    http_status = 403


class TooManyTries(ApplianceError):
    """Too often; it is allowed again after ``retry_after_s``."""

    http_status = 429

    def __init__(self, code: str, message: str, hint: str = "", *, can_retry: bool = True) -> None:
        super().__init__(code, message, hint, can_retry=can_retry)


class Superseded(ApplianceError):
    """Speculative or interim work gave way to live work."""

    http_status = 409


class NotReady(ApplianceError):
    """The box, or the part asked, cannot serve now."""

    http_status = 503
    exit_code = 3


class TimedOut(ApplianceError):
    """The work took longer than its deadline."""

    http_status = 504


class BadSettings(ApplianceError):
    """A setting cannot be read or has an impossible value."""

    exit_code = 2
