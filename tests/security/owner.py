"""The owner in a test: sets the password and signs in, in a browser that keeps cookies."""

from __future__ import annotations

import httpx

from appliance.set_up import new_set_up_link
from tests.panel_app import Panel

PASSWORD = "four words at random"
OWN = {"Origin": "http://localhost:8080"}


def a_browser(panel: Panel, **headers: str) -> httpx.AsyncClient:
    """Another browser."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=panel.app), base_url="http://localhost:8080",
        headers={**OWN, **headers},
    )  # fmt: skip


def new_code(panel: Panel) -> str:
    """The code of a new set-up link."""
    return new_set_up_link(panel.desk.settings).partition("code=")[2]


async def set_up(panel: Panel, browser: httpx.AsyncClient) -> httpx.Response:
    """Set the password as the owner does."""
    form = {"code": new_code(panel), "password": PASSWORD, "again": PASSWORD}
    return await browser.post("/set-up", data=form)


async def sign_in(browser: httpx.AsyncClient, password: str = PASSWORD) -> httpx.Response:
    """Send the sign-in form."""
    return await browser.post("/sign-in", data={"password": password})
