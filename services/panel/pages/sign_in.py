"""Setting up, signing in, signing out."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from appliance.errors import ApplianceError, BadInput
from services.panel.access import principal_of
from services.panel.access.forms import field, form_of
from services.panel.access.gate import safe_next
from services.panel.access.signing import signing_of
from services.panel.pages import render

router = APIRouter(include_in_schema=False)


@router.get("/sign-in")
async def sign_in_page(request: Request) -> Response:
    """Asks for the password, or says how to set one."""
    wanted = safe_next(request.query_params.get("next", "/"))
    if principal_of(request) is not None:
        return RedirectResponse(wanted, 303)
    return await _sign_in(request, wanted)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Takes the password."""
    form = await form_of(request)
    wanted = safe_next(field(form, "next") or "/")
    signing = signing_of(request)
    try:
        signed = await signing.sign_in(request, field(form, "password"))
    except ApplianceError as error:
        return await _sign_in(request, wanted, error)
    return signing.give(request, RedirectResponse(wanted, 303), signed)


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """Ends this browser's sign-in."""
    signing = signing_of(request)
    await signing.sign_out(request)
    answer: Response = RedirectResponse("/sign-in", 303)
    if "hx-request" in request.headers:
        answer = Response(status_code=204, headers={"HX-Redirect": "/sign-in"})
    return signing.take(request, answer)


@router.get("/set-up")
async def set_up_page(request: Request) -> Response:
    """Where the one-time link leads."""
    return await _set_up(request, request.query_params.get("code", ""))


@router.post("/set-up")
async def set_up(request: Request) -> Response:
    """Takes the first password."""
    form = await form_of(request)
    code, password = field(form, "code"), field(form, "password")
    signing = signing_of(request)
    try:
        if password != field(form, "again"):
            raise differ()
        signed = await signing.set_up(request, code, password)
    except ApplianceError as error:
        return await _set_up(request, code, error)
    return signing.give(request, RedirectResponse("/", 303), signed)


def differ() -> BadInput:
    """The two fields of a new password are not the same."""
    return BadInput("passwords_differ", "The two passwords are not the same.", "Type them again.")


async def _sign_in(request: Request, wanted: str, error: ApplianceError | None = None) -> Response:
    claimed = await signing_of(request).is_claimed()
    return _told(request, "sign_in.html", error, wanted=wanted, claimed=claimed)


async def _set_up(request: Request, code: str, error: ApplianceError | None = None) -> Response:
    signing = signing_of(request)
    is_open = await signing.is_open(code)
    claimed = is_open is False and await signing.is_claimed()
    values = {"code": code, "is_open": is_open, "claimed": claimed}
    return _told(request, "set_up.html", error, **values)


def _told(request: Request, template: str, error: ApplianceError | None, **values: Any) -> Response:
    status = error.http_status if error else 200
    page = render(request, template, status=status, error=error, **values)
    if error is not None and error.retry_after_s is not None:
        page.headers["Retry-After"] = str(error.retry_after_s)
    return page
