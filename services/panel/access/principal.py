"""Whoever sent a request: the owner, a program with a key, or the command on the box."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from fastapi import Request


class Scope(StrEnum):
    """What a key may be for. The owner and the command have them all."""

    CALLS = "calls"
    SPEECH = "speech"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True)
class Principal:
    """Somebody who has proved who they are."""

    kind: Literal["owner", "key", "command"]
    name: str
    scopes: frozenset[Scope]
    key_id: str | None = None

    @property
    def label(self) -> str:
        """As the audit log names them: ``owner``, ``command`` or ``key <name>``."""
        return f"key {self.name}" if self.kind == "key" else self.kind

    def may(self, scope: Scope) -> bool:
        """Whether this is allowed; ``admin`` allows everything."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


def key_of(request: Request) -> str:
    """Id of the key that a program sent; empty for the owner, the command, guests and strangers."""
    found = principal_of(request)
    return (found and found.key_id) or ""


def principal_of(request: Request) -> Principal | None:
    """Who asks; None for a guest or a stranger."""
    found: Principal | None = getattr(request.state, "principal", None)
    return found
