"""The owner's password and the browsers that are signed in."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from appliance.errors import ApplianceError, NotFound
from appliance.settings import Settings
from appliance.store import Store
from services.panel.access.audit import note
from services.panel.access.forms import field, form_of
from services.panel.access.identity import cookie_of, digest_of
from services.panel.access.signing import signing_of
from services.panel.pages import render
from services.panel.pages.sign_in import differ

router = APIRouter(prefix="/account", include_in_schema=False)
_SHORT = 16


@router.get("")
async def account(request: Request) -> Response:
    """Both, on one page."""
    return await _page(request)


@router.post("/password")
async def change_password(request: Request) -> Response:
    """Another password; every other browser is signed out."""
    form = await form_of(request)
    signing = signing_of(request)
    try:
        if field(form, "password") != field(form, "again"):
            raise differ()
        signed = await signing.change(request, field(form, "current"), field(form, "password"))
    except ApplianceError as error:
        return await _page(request, error)
    return signing.give(request, RedirectResponse("/account?changed=1", 303), signed)


@router.post("/browsers/{short}/sign-out")
async def sign_out_browser(request: Request, short: str) -> Response:
    """Sign one browser out."""
    store: Store = request.app.state.store
    access = _settings(request).access
    everyone = await asyncio.to_thread(store.sign_ins.all, access.idle_s, access.longest_s)
    found = [one for one in everyone if one.digest[:_SHORT] == short]
    if not found:
        raise NotFound("browser_unknown", "This browser is not signed in any more.")
    await asyncio.to_thread(store.sign_ins.remove, found[0].digest)
    await note(request, "owner.signed_out", object=found[0].browser, elsewhere=True)
    return RedirectResponse("/account", 303)


async def _page(request: Request, error: ApplianceError | None = None) -> Response:
    store: Store = request.app.state.store
    access = _settings(request).access
    secret = cookie_of(request.headers)
    here = digest_of(secret) if secret else ""
    everyone = await asyncio.to_thread(store.sign_ins.all, access.idle_s, access.longest_s)
    browsers = [
        {
            "short": one.digest[:_SHORT], "here": one.digest == here, "name": _spoken(one.browser),
            "address": one.address, "seen_at": one.seen_at.isoformat(),
            "created_at": one.created_at.isoformat(),
        }
        for one in everyone
    ]  # fmt: skip
    page = render(
        request, "account.html", active="account", status=error.http_status if error else 200,
        error=error, browsers=browsers, changed="changed" in request.query_params,
        idle_min=access.idle_s // 60, longest_h=access.longest_s // 3600,
    )  # fmt: skip
    if error is not None and error.retry_after_s is not None:
        page.headers["Retry-After"] = str(error.retry_after_s)
    return page


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _spoken(user_agent: str) -> str:
    """What people call their browser and system."""
    known = {
        "Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome",
        "Safari/": "Safari", "curl/": "curl",
    }  # fmt: skip
    systems = {
        "Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Windows": "Windows",
        "Mac OS": "macOS", "CrOS": "ChromeOS", "Linux": "Linux",
    }  # fmt: skip
    browser = next((name for mark, name in known.items() if mark in user_agent), "")
    system = next((name for mark, name in systems.items() if mark in user_agent), "")
    if not browser:
        return user_agent[:60] or "unknown browser"
    return f"{browser} on {system}" if system else browser
