"""Pages of other sites that the owner named may use ``/v1`` with a key. Nothing else may."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance.settings import Settings

_PREFIX = "/v1/"
_KEPT_S = "600"


class Cors:
    """ASGI middleware around the guard, which lets such a page pass only with a bearer token.

    No answer ever allows credentials: a browser then sends no cookie along, and the sign-in is
    out of reach of every other site, also of those that are named.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._origins = frozenset(one.lower().rstrip("/") for one in settings.front.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, or mark the answer."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin", "")
        if not scope.get("path", "").startswith(_PREFIX) or origin.lower() not in self._origins:
            await self._app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            preflight = Response(
                status_code=204,
                headers={
                    **_allowed(origin),
                    "Access-Control-Allow-Methods": "GET, POST",
                    "Access-Control-Allow-Headers": "authorization, content-type, x-earshot-client",
                    "Access-Control-Max-Age": _KEPT_S,
                },
            )
            await preflight(scope, receive, send)
            return

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                marked = MutableHeaders(scope=message)
                marked.update(_allowed(origin))
                marked["Access-Control-Expose-Headers"] = "Retry-After"
                # Guards against pages that embed; this one asks in the open.
                marked["Cross-Origin-Resource-Policy"] = "cross-origin"
            await send(message)

        await self._app(scope, receive, send_marked)


def _allowed(origin: str) -> dict[str, str]:
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
