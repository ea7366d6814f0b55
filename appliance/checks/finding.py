"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One check's answer: how it stands, what was seen, what to do about it."""

    state: State
    message: str
    hint: str = ""


def ok(message: str) -> Finding:
    """Nothing to do."""
    return Finding("ok", message)


def warn(message: str, hint: str) -> Finding:
    """It works now and may not later."""
    return Finding("warn", message, hint)


def fail(message: str, hint: str) -> Finding:
    """Earshot cannot work like this."""
    return Finding("fail", message, hint)
