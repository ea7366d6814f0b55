"""Which route a request is for, known before anything of it is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount, compile_path
from starlette.types import Scope as AsgiScope

from services.panel.access.policy import BODY_BYTES, LARGE_BODIES, PUBLIC, SCOPES, Route
from services.panel.access.principal import Scope


@dataclass(frozen=True)
class Door:
    """One route, or None for an address that there is not."""

    route: Route | None

    @property
    def is_public(self) -> bool:
        """Whether everybody may pass."""
        return self.route in PUBLIC

    @property
    def scope(self) -> Scope:
        """What whoever passes must be allowed to."""
        return SCOPES.get(self.route, Scope.ADMIN) if self.route else Scope.READ

    @property
    def body_bytes(self) -> int | None:
        """The most bytes its body may have; None: its handler counts."""
        return LARGE_BODIES.get(self.route, BODY_BYTES) if self.route else BODY_BYTES


NOWHERE = Door(None)


class Doors:
    """Every route of an app, in the order in which it tries them."""

    def __init__(self, app: FastAPI) -> None:
        self._found: list[tuple[re.Pattern[str], frozenset[str], str]] = []
        for context in iter_route_contexts(app.routes):
            path = context.path or ""
            if isinstance(context.original_route, Mount):
                pattern, _format, _convertors = compile_path(path + "/{path:path}")
                methods = frozenset({"GET"})
            else:
                pattern, _format, _convertors = compile_path(path)
                methods = frozenset(context.methods or ()) - {"HEAD"}
            self._found.append((pattern, methods, path))

    def __iter__(self) -> Iterator[Route]:
        for _pattern, methods, path in self._found:
            for method in sorted(methods):
                yield (method, path)

    def find(self, scope: AsgiScope) -> Door:
        """The door that this request would go through."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        for pattern, methods, path in self._found:
            if method in methods and pattern.match(scope["path"]):
                return Door((method, path))
        return NOWHERE
