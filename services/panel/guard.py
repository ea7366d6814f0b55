"""What every request must be before any handler sees it, and what every answer carries."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance import logs
from appliance.addresses import lan_names, with_port
from appliance.errors import ApplianceError, BadInput, Refused, TooLarge
from appliance.settings import Settings
from services.panel.access.doors import Door
from services.panel.access.gate import Gate, turned_away
from services.panel.access.identity import is_secure
from services.panel.access.policy import FORMS
from services.panel.answers import internal_error

CLIENT_HEADER = "x-earshot-client"
WEBHOOK = "/internal/livekit"
INTERNAL = "/internal/v1/"
_SAFE = frozenset({"GET", "HEAD"})
# Put there by the front door, never by a program on the box.
_FORWARDED = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "via")

log = logs.get(__name__)


class UnknownHost(ApplianceError):
    """The request is for another name than the box's: DNS rebinding, or a wrong address."""

    http_status = 421


class Guard:
    """ASGI middleware around the whole app.

    A page in the owner's browser can send requests to this machine. So: only the box's own names
    as Host (against DNS rebinding), only pages of that same name as Origin, and a header on everything that
    changes something, which a foreign page cannot set without being allowed to by CORS. What
    comes with a bearer token needs none of that: no browser adds such a token by itself. Then the
    gate: who asks, and may they. Only then is the body read, within its limit.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._origins = own_names(settings.front.http_port, settings.public_url)
        self._others = frozenset(
            origin.lower().rstrip("/") for origin in settings.front.cors_origins
        )
        # The box's own programs, on the socket, name no port.
        self._hosts = self._origins | {"localhost"}
        self._lan = door_names(settings)
        self._secure = public_name(settings.public_url, only_secure=True)
        self._media = settings.livekit.url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False
        host = Headers(scope=scope).get("host", "").lower()

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._dress(MutableHeaders(scope=message), scope["path"], host)
            await send(message)

        try:
            gate: Gate = scope["app"].state.gate
            door = gate.doors.find(scope)
            self._check(scope, door)
            if host == self._secure:
                scope["headers"] = _came_by_https(scope["headers"])
            await gate.admit(scope, door)
            if door.body_bytes is not None:
                receive = await _whole_body(scope, receive, door.body_bytes)
            await self._app(scope, receive, send_guarded)
        except ApplianceError as error:
            if started:
                raise
            await turned_away(scope, error)(scope, receive, send_guarded)
        except ClientDisconnect:
            # Gone in the middle of its body: nobody reads an answer, and nothing is broken.
            log.debug("client_gone", path=scope["path"])
        except Exception:
            # Whatever it was, its words stay in the log; the asker gets one sentence.
            log.exception("request_broken", path=scope["path"], method=scope["method"])
            if started:
                raise
            await internal_error()(scope, receive, send_guarded)

    def _check(self, scope: Scope, door: Door) -> None:
        headers = Headers(scope=scope)
        path: str = scope["path"]
        if path.startswith(INTERNAL):
            # Only programs that can open the socket come without the front door's mark; they are
            # the box's own, and call the panel what they like.
            if any(name in headers for name in _FORWARDED):
                raise Refused("internal_only", "This part is for the box's own programs.")
            return
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._goes_by(hosts[0].lower(), secure=is_secure(headers)):
            raise UnknownHost(
                "host_unknown", "This box does not go by that name.",
                "Open the address that `scripts/run` printed, or one of the page Other devices.",
            )  # fmt: skip
        if path == WEBHOOK:
            return
        origins = headers.getlist("origin")
        bearer = "authorization" in headers
        own = all(self._is_own(origin, hosts[0].lower()) for origin in origins)
        if not own and not (bearer and all(self.allows(scope, origin) for origin in origins)):
            raise Refused(
                "origin_refused", "Another site's page may not use this box.",
                "Open the box's own page.",
            )  # fmt: skip
        if scope["method"] in _SAFE or bearer or CLIENT_HEADER in headers:
            return
        if not origins or door.route not in FORMS:
            raise Refused(
                "client_header_missing", "The header X-Earshot-Client is missing.",
                "Send `X-Earshot-Client: 1` with every request that changes something.",
            )  # fmt: skip

    def allows(self, scope: Scope, origin: str) -> bool:
        """Whether the owner lets this other site's pages use the API, with a key."""
        return scope["path"].startswith("/v1/") and origin.lower() in self._others

    def _goes_by(self, host: str, *, secure: bool) -> bool:
        """Whether this is a name of the box; those of its https door are for https alone."""
        return host in self._hosts or (secure and host in self._lan)

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether the page came from where it asks; the box's other names may be another program's."""
        try:
            parts = urlsplit(origin.lower())
        except ValueError:
            return False
        if parts.netloc != host:
            return False
        if parts.scheme == "https":
            return host in self._origins | self._lan
        return parts.scheme == "http" and host in self._origins and host != self._secure

    def _dress(self, headers: MutableHeaders, path: str, host: str) -> None:
        own = host if host in self._hosts | self._lan else ""
        media = " ".join(filter(None, [f"ws://{own} wss://{own}" if own else "", self._media]))
        # The page's own worker and recorded sound come as blobs from livekit-client.
        headers["Content-Security-Policy"] = (
            "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            "media-src 'self' blob:; worker-src 'self' blob:; "
            f"connect-src 'self' {media}; object-src 'none'; base-uri 'none'; "
            "form-action 'self'; frame-ancestors 'none'"
        )
        headers["X-Content-Type-Options"] = "nosniff"
        headers["X-Frame-Options"] = "DENY"
        headers["Referrer-Policy"] = "same-origin"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Permissions-Policy"] = (
            "microphone=(self), camera=(), geolocation=(), payment=(), usb=()"
        )
        # A bundle may be kept, but is asked for again after an update; the rest is never kept.
        headers["Cache-Control"] = "no-cache" if path.startswith("/static/") else "no-store"


def own_names(http_port: int, public_url: str = "") -> frozenset[str]:
    """What this box's front door is called in Host and Origin."""
    names = ("localhost", "127.0.0.1", "[::1]")
    public = {public_name(public_url)} - {""}
    # Browsers leave out the port that http has anyway.
    local = names if http_port == 80 else tuple(f"{name}:{http_port}" for name in names)
    return frozenset(public | set(local))


def door_names(settings: Settings) -> frozenset[str]:
    """What the https door is called in Host and Origin; nothing where it is closed."""
    port = settings.front.https_port
    return frozenset(with_port(name, port, 443) for name in lan_names(settings))


def public_name(public_url: str, *, only_secure: bool = False) -> str:
    """Its host and port as browsers send them, who leave out the port that goes without saying.

    Empty where there is none, or with ``only_secure`` where it is not https.
    """
    parts = urlsplit(public_url.lower())
    if only_secure and parts.scheme != "https":
        return ""
    return parts.netloc.removesuffix(":443" if parts.scheme == "https" else ":80")


def _came_by_https(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """As a server with a certificate before the front door says, or may leave unsaid."""
    mark = b"x-forwarded-proto"
    return [*(one for one in headers if one[0].lower() != mark), (mark, b"https")]


async def _whole_body(scope: Scope, receive: Receive, limit: int) -> Receive:
    """Read the body now, within its limit, and hand it on in one piece.

    Raises:
        TooLarge: it is over the limit; the rest is not read.
    """
    if _declared(Headers(scope=scope).getlist("content-length")) > limit:
        raise _too_large(limit)
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return _replay([message], receive)
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            raise _too_large(limit)
    return _replay([{"type": "http.request", "body": bytes(body), "more_body": False}], receive)


def _replay(messages: list[Message], receive: Receive) -> Receive:
    async def next_message() -> Message:
        return messages.pop(0) if messages else await receive()

    return next_message


def _declared(lengths: Iterable[str]) -> int:
    try:
        return max((int(length) for length in lengths), default=0)
    except ValueError as error:
        raise BadInput("bad_request", "The header Content-Length is not a number.") from error


def _too_large(limit: int) -> TooLarge:
    return TooLarge("body_too_large", f"The request is over {limit >> 10} KiB.")
