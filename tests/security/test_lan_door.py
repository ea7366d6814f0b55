"""The panel behind an open door: other machines come by https, under the box's names alone."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.panel_app import SESSIONS, Panel, box_settings, running_panel
from tests.security.owner import a_browser, set_up, sign_in

pytestmark = pytest.mark.security

BY_HTTPS = {"X-Forwarded-Proto": "https"}
NAMES = (
    "192.168.1.20:8443", "BOX.local:8443", "ear.lan:8443", "localhost:8443",
    "127.0.0.1:8443", "[::1]:8443",
)  # fmt: skip

STRANGE_NAMES = (
    "192.168.1.20:8080", "192.168.1.20", "192.168.1.21:8443", "box.evil.example:8443",
    "evil.local:8443", "box:8443", "ear:8443", "ear.lan.evil.example:8443", "ear.lan", "evil.example:8443",
)  # fmt: skip
STRANGE_ORIGINS = (
    "http://192.168.1.20:8080", "http://192.168.1.20:8443", "http://box.local:8080",
    "https://192.168.1.21:8443", "https://192.168.1.20", "https://evil.example:8443", "null",
)  # fmt: skip


@pytest.fixture
async def panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Panel]:
    """The panel of a box that is open to its network."""
    monkeypatch.setattr(socket, "gethostname", lambda: "box")
    settings = box_settings(
        tmp_path / "data", front={"lan": True, "names": ["ear.lan"]},
        livekit={"node_ip": "192.168.1.20"},
    )  # fmt: skip
    async with running_panel(settings) as panel:
        yield panel


async def test_calls_are_made_over_the_name_that_was_used(panel: Panel) -> None:
    for host in NAMES:
        own = {**BY_HTTPS, "Host": host, "Origin": f"https://{host}".lower()}
        answer = await panel.http.post(SESSIONS, headers=own)
        assert answer.status_code == 201, answer.text
        assert answer.json()["url"] == f"wss://{host}"
        policy = answer.headers["content-security-policy"]
        assert f"connect-src 'self' ws://{host.lower()} wss://{host.lower()}" in policy
        end = f"{SESSIONS}/{answer.json()['session_id']}/end"
        assert (await panel.http.post(end)).is_success


async def test_the_networks_names_are_for_https_alone(panel: Panel) -> None:
    for host in NAMES:
        for said in ({}, {"X-Forwarded-Proto": "http"}):
            answer = await panel.http.get(SESSIONS, headers={"Host": host, **said})
            assert (answer.status_code, answer.json()["error"]["code"]) == (421, "host_unknown")


async def test_other_names_are_refused_by_https_too(panel: Panel) -> None:
    for host in STRANGE_NAMES:
        answer = await panel.http.post(SESSIONS, headers={**BY_HTTPS, "Host": host})
        assert (answer.status_code, answer.json()["error"]["code"]) == (421, "host_unknown"), host
    assert panel.store.sessions.list() == []


async def test_the_page_of_plain_http_and_other_sites_may_not_use_the_app(panel: Panel) -> None:
    async with a_browser(panel) as browser:
        await set_up(panel, browser)
        mine = {**BY_HTTPS, "Host": "192.168.1.20:8443", "X-Earshot-Client": "1"}
        for origin in STRANGE_ORIGINS:
            answer = await browser.post(SESSIONS, headers={**mine, "Origin": origin})
            code = answer.json()["error"]["code"]
            assert (answer.status_code, code) == (403, "origin_refused"), origin
    assert panel.store.sessions.list() == []


async def test_a_page_of_another_of_the_boxs_names_is_another_site(panel: Panel) -> None:
    """A name may lead to another machine for whoever asks: each device has a localhost of its own."""
    async with a_browser(panel) as browser:
        await set_up(panel, browser)
        names = [name.lower() for name in NAMES]
        for host in names:
            strange = [f"https://{name}" for name in names if name != host]
            for origin in (*strange, "http://localhost:8080", f"http://{host}"):
                asked = {**BY_HTTPS, "Host": host, "Origin": origin, "X-Earshot-Client": "1"}
                answer = await browser.post(SESSIONS, headers=asked)
                assert answer.status_code == 403, (host, origin)
                assert answer.json()["error"]["code"] == "origin_refused"
            answer = await browser.post(
                SESSIONS, headers={"Origin": f"https://{host}", "X-Earshot-Client": "1"}
            )
            assert answer.status_code == 403, host
    assert panel.store.sessions.list() == []


async def test_whoever_signs_in_from_the_network_gets_a_cookie_for_https_alone(
    panel: Panel,
) -> None:
    async with a_browser(panel) as owner:
        await set_up(panel, owner)
    there = {**BY_HTTPS, "Host": "ear.lan:8443", "Origin": "https://ear.lan:8443"}
    async with a_browser(panel, **there, **{"X-Forwarded-For": "192.168.1.31"}) as phone:
        cookies = (await sign_in(phone)).headers.get_list("set-cookie")
        assert cookies
        for cookie in cookies:
            assert cookie.startswith("__Host-earshot")
            assert {"secure", "path=/"} <= set(cookie.lower().split("; "))
    rows = panel.store.audit.list()[0]
    assert "192.168.1.31" in {row.address for row in rows}


async def test_a_closed_door_knows_none_of_these_names(tmp_path: Path) -> None:
    settings = box_settings(tmp_path / "data", livekit={"node_ip": "192.168.1.20"})
    async with running_panel(settings) as panel:
        for host in NAMES:
            answer = await panel.http.get(SESSIONS, headers={**BY_HTTPS, "Host": host})
            assert answer.status_code == 421, host
