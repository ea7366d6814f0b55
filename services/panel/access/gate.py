"""Everything is closed unless the lists of ``policy`` open it; decided before a body is read."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from fastapi import FastAPI, Request
from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope as AsgiScope

from appliance.errors import ApplianceError, Refused
from appliance.settings import Settings
from appliance.store import Store
from services.panel.access.doors import Door, Doors
from services.panel.access.identity import Identity, NotSignedIn, address_of
from services.panel.access.policy import FORMS
from services.panel.answers import error_answer, told

_NO_PAGES = ("/api/", "/v1/", "/internal/", "/static/")


class Gate:
    """Lets a request pass to its route, or says why not."""

    def __init__(self, app: FastAPI, settings: Settings, store: Store, local_token: str) -> None:
        self._app = app
        self._identity = Identity(settings, store, local_token)
        self._doors: Doors | None = None

    @property
    def doors(self) -> Doors:
        """Every route of the app."""
        if self._doors is None:
            self._doors = Doors(self._app)
        return self._doors

    async def admit(self, scope: AsgiScope, door: Door) -> None:
        """Find who asks, note it in the request's state, and let them pass through this door.

        Raises:
            NotSignedIn: the route is for people who are known.
            Refused: who asks may not do this.
        """
        headers = Headers(scope=scope)
        state = scope.setdefault("state", {})
        state["address"] = address_of(headers)
        state["route"] = door.route
        state["principal"] = None
        try:
            principal = state["principal"] = await self._identity.find(headers)
        except NotSignedIn:
            if door.is_public:
                return
            raise
        if door.is_public:
            return
        if principal is None:
            raise NotSignedIn("not_signed_in", "You are not signed in.", "Sign in, or send a key.")
        if not principal.may(door.scope):
            raise Refused(
                "scope_missing", f"This key may not do that: it lacks the scope {door.scope}.",
                "The owner of the box can make another key on the page Access.",
            )  # fmt: skip


def turned_away(scope: AsgiScope, error: ApplianceError) -> Response:
    """The answer to somebody who may not pass: people are led to the sign-in page."""
    headers = Headers(scope=scope)
    if not isinstance(error, NotSignedIn):
        return told(Request(scope), error)
    if "hx-request" in headers:
        # A fragment of a page: the whole page is to go there, not the fragment.
        answer: Response = error_answer(error)
        here = urlsplit(headers.get("hx-current-url", ""))
        answer.headers["HX-Redirect"] = sign_in_address(here.path, here.query)
        return answer
    if scope.get("state", {}).get("route") in FORMS:
        # The sign-in ended while the form was open.
        return RedirectResponse("/sign-in", 303)
    if scope["method"] in ("GET", "HEAD") and not _is_for_programs(scope["path"]):
        query = scope.get("query_string", b"").decode("latin-1")
        return RedirectResponse(sign_in_address(scope["path"], query), 303)
    answer = error_answer(error)
    answer.headers["WWW-Authenticate"] = 'Bearer realm="Earshot"'
    return answer


def sign_in_address(path: str, query: str = "") -> str:
    """The sign-in page, which leads back here afterwards."""
    wanted = safe_next(f"{path}?{query}" if query else path)
    return "/sign-in" if wanted == "/" else f"/sign-in?next={quote(wanted, safe='/')}"


def safe_next(wanted: str) -> str:
    """An address on this box to go on to; anything else becomes the first page."""
    plain = wanted.isprintable() and wanted.isascii() and "\\" not in wanted
    if not plain or not wanted.startswith("/") or wanted.startswith("//") or len(wanted) > 500:
        return "/"
    return wanted


async def check_same_route(request: Request) -> None:
    """Refuse to serve another route than the one that was judged: that would be a hole.

    Raises:
        RuntimeError: they differ.
    """
    served = getattr(request.scope.get("route"), "path", None)
    judged = getattr(request.state, "route", None)
    if judged is None or served != judged[1]:
        raise RuntimeError(f"{served} is served, and {judged} was judged")


def _is_for_programs(path: str) -> bool:
    return path.startswith(_NO_PAGES) or path in ("/healthz", "/readyz", "/metrics")
