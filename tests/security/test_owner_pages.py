"""The owner's pages and the command that resets them, as a browser uses them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from appliance.cli import build
from appliance.set_up import is_set_up_code, new_set_up_link
from appliance.store import open_store
from tests.panel_app import SESSIONS, Panel, box_settings, running_panel
from tests.security.owner import PASSWORD, a_browser, set_up, sign_in

pytestmark = pytest.mark.security


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """A running panel."""
    async with running_panel(box_settings(tmp_path / "data")) as panel:
        yield panel


@pytest.fixture
async def browser(panel: Panel) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that keeps cookies and sends nothing else by itself."""
    async with a_browser(panel) as client:
        yield client


async def test_the_account_signs_others_out_and_changes_the_password(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    await set_up(panel, browser)
    async with a_browser(
        panel, **{"User-Agent": "Mozilla/5.0 (X11; Linux) Firefox/140.0"}
    ) as other:
        await sign_in(other)
        page = (await browser.get("/account")).text
        assert "Firefox on Linux" in page
        assert page.count("this one") == 1
        forms = re.findall(r"/account/browsers/(\w+)/sign-out", page)
        shorts = {one.digest[:16] for one in panel.store.sign_ins.all(1800, 43200)}
        assert set(forms) == shorts
        there = next(
            one for one in panel.store.sign_ins.all(1800, 43200) if "Firefox" in one.browser
        )
        gone = await browser.post(f"/account/browsers/{there.digest[:16]}/sign-out")
        assert (gone.status_code, gone.headers["location"]) == (303, "/account")
        assert (await other.get(SESSIONS)).status_code == 401
        await sign_in(other)
        wrong = {
            "current": "not the one",
            "password": "a newer one " * 2,
            "again": "a newer one " * 2,
        }
        assert (await browser.post("/account/password", data=wrong)).status_code == 401
        assert (await other.get(SESSIONS)).status_code == 200
        right = {**wrong, "current": PASSWORD}
        assert (await browser.post("/account/password", data=right)).status_code == 303
        assert (await other.get(SESSIONS)).status_code == 401
        assert (await browser.get(SESSIONS)).status_code == 200
        assert (await sign_in(other)).status_code == 401
        assert (await sign_in(other, "a newer one " * 2)).status_code == 303


async def test_keys_are_made_and_revoked_on_the_page(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    await set_up(panel, browser)
    form = {"name": "<i>WebUI</i>", "scopes": ["speech", "read"], "days": "30"}
    form["once"] = await _mark(browser)
    made = await browser.post("/access/keys", data=form)
    assert made.status_code == 200
    assert "<i>WebUI" not in made.text
    found = re.findall(r"earshot_[0-9a-f]{16}_[\w-]{43}", made.text)
    assert len(found) == 1
    assert found[0] not in (await browser.get("/access/keys")).text
    again = await browser.post("/access/keys", data=form)
    assert (again.status_code, len(panel.store.api_keys.all())) == (403, 1)
    assert "was sent twice" in again.text
    assert not re.search(r"earshot_[0-9a-f]{16}_[\w-]{43}", again.text)
    form["once"] = await _mark(browser)
    async with a_browser(panel, Authorization=f"Bearer {found[0]}") as program:
        assert (await program.get(SESSIONS)).status_code == 200
        key_id = found[0].split("_")[1]
        assert (await browser.post(f"/access/keys/{key_id}/revoke")).status_code == 303
        assert (await program.get(SESSIONS)).status_code == 401
    assert (await browser.post(f"/access/keys/{key_id}/delete")).status_code == 303
    mistakes: list[dict[str, Any]] = [
        {"name": ""},
        {"scopes": []},
        {"scopes": ["all"]},
        {"days": "0"},
        {"days": "x"},
        {"once": ""},
    ]
    for wrong in mistakes:
        answer = await browser.post("/access/keys", data={**form, **wrong})
        assert answer.status_code == 400
        assert 'role="alert"' in answer.text
    assert panel.store.api_keys.all() == []


async def _mark(browser: httpx.AsyncClient) -> str:
    """What the form carries so that it makes one key."""
    found = re.search(r'name="once" value="([\w-]{22})"', (await browser.get("/access/keys")).text)
    assert found
    return found[1]


async def test_a_form_whose_sign_in_has_ended_leads_to_thesign_in(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    await set_up(panel, browser)
    browser.cookies.clear()
    answer = await browser.post("/access/keys", data={"name": "x", "scopes": ["admin"]})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert panel.store.api_keys.all() == []


async def test_the_public_address_is_one_of_the_boxs_names(tmp_path: Path) -> None:
    settings = box_settings(tmp_path / "data", public_url="https://ear.example.lan:8443")
    async with running_panel(settings) as panel, a_browser(panel) as client:
        own = {"Host": "ear.example.lan:8443", "Origin": "https://ear.example.lan:8443"}
        assert (await client.get("/sign-in", headers=own)).status_code == 200
        assert (await client.post("/sign-out", headers=own)).status_code == 303
        for host in ("ear.example.lan", "ear.example.lan:8080", "x.ear.example.lan:8443"):
            assert (await client.get("/sign-in", headers={"Host": host})).status_code == 421
        for origin in (
            "https://ear.example.lan",
            "https://evil.example:8443",
            "http://ear.example.lan:8443",
            "http://localhost:8080",
        ):
            answer = await client.post("/sign-out", headers={**own, "Origin": origin})
            assert answer.json()["error"]["code"] == "origin_refused"


def test_admin_reset_signs_everybody_out_and_opens_the_box_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("APPLIANCE_PUBLIC_URL", "https://earshot.test")
    settings = box_settings(tmp_path / "data")
    before = new_set_up_link(settings).partition("code=")[2]
    store = open_store(settings)
    store.owner.claim("hash")
    store.sign_ins.add("d" * 64, "local", "test", "hash")
    store.attempts.begin("192.0.2.7", lambda _tries, _now: 0, ())
    done = CliRunner().invoke(build(), ["admin", "reset"])
    assert done.exit_code == 0
    here, there = done.stdout.split()[-2:]
    assert here.startswith("http://localhost:8080/set-up")
    assert there.startswith("https://earshot.test/set-up")
    code = here.partition("code=")[2]
    assert there.endswith(code)
    assert store.owner.password_hash() is None
    assert store.sign_ins.all(1800, 43200) == []
    assert is_set_up_code(settings, code)
    assert not is_set_up_code(settings, before)
    assert [row.action for row in store.audit.list()[0]] == ["owner.reset"]
    assert code not in done.stderr
    store.close()
