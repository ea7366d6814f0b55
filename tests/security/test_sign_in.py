"""Setting the password, signing in and out, and what a stranger makes of it."""

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

pytestmark = pytest.mark.security
PASSWORD = "four words at random"
OWN = {"Origin": "http://localhost:8080"}


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """A running panel."""
    async with running_panel(box_settings(tmp_path / "data")) as panel:
        yield panel


@pytest.fixture
async def browser(panel: Panel) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that keeps cookies and sends nothing else by itself."""
    async with _browser(panel) as client:
        yield client


def _browser(panel: Panel, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=panel.app), base_url="http://localhost:8080",
        headers={**OWN, **headers},
    )  # fmt: skip


def _code(panel: Panel) -> str:
    return new_set_up_link(panel.desk.settings).partition("code=")[2]


async def set_up(panel: Panel, browser: httpx.AsyncClient) -> httpx.Response:
    """Set the password as the owner does."""
    form = {"code": _code(panel), "password": PASSWORD, "again": PASSWORD}
    return await browser.post("/set-up", data=form)


async def _sign_in(browser: httpx.AsyncClient, password: str = PASSWORD) -> httpx.Response:
    return await browser.post("/sign-in", data={"password": password})


async def test_the_link_sets_the_password_once(panel: Panel, browser: httpx.AsyncClient) -> None:
    code = _code(panel)
    later = _code(panel)
    assert "Set the password" in (await browser.get("/set-up", params={"code": code})).text
    done = await browser.post(
        "/set-up", data={"code": code, "password": PASSWORD, "again": PASSWORD}
    )
    assert (done.status_code, done.headers["location"]) == (303, "/")
    assert (await browser.get(SESSIONS)).status_code == 200
    for used in (code, later):
        async with _browser(panel) as other:
            form = {
                "code": used,
                "password": "another one entirely",
                "again": "another one entirely",
            }
            again = await other.post("/set-up", data=form)
            assert again.status_code == 403
            assert (await _sign_in(other, "another one entirely")).status_code == 401


@pytest.mark.parametrize("code", ["", "x", "0" * 43, "\udc80", "a\0b"])
async def test_a_wrong_link_sets_nothing(
    panel: Panel, browser: httpx.AsyncClient, code: str
) -> None:
    _code(panel)
    form = {
        "code": code.encode("utf-8", "replace").decode(),
        "password": PASSWORD,
        "again": PASSWORD,
    }
    assert (await browser.post("/set-up", data=form)).status_code == 403
    assert panel.store.owner.password_hash() is None


@pytest.mark.parametrize(
    "password",
    ["short", "eleven char", "x" * 1025, "aaaaaaaaaaaaaaaa", "123456789012", "qwertyuiopas",
     "Passw0rd!!!!", "earshot-earshot", "abcabcabcabc", "password1234567", "987654321098"],
)  # fmt: skip
async def test_a_guess_is_no_password(
    panel: Panel, browser: httpx.AsyncClient, password: str
) -> None:
    form = {"code": _code(panel), "password": password, "again": password}
    answer = await browser.post("/set-up", data=form)
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert panel.store.owner.password_hash() is None


async def test_the_password_is_kept_as_argon2id(panel: Panel, browser: httpx.AsyncClient) -> None:
    await set_up(panel, browser)
    assert (panel.store.owner.password_hash() or "").startswith("$argon2id$v=19$m=65536,t=3,p=4$")


async def test_the_cookie_is_for_this_box_alone(panel: Panel, browser: httpx.AsyncClient) -> None:
    plain = (await set_up(panel, browser)).headers.get_list("set-cookie")
    assert len(plain) == 2
    for cookie in plain:
        assert re.match(r"earshot(-known)?=[\w.-]{40,}; ", cookie)
        flags = cookie.lower().split("; ")[1:]
        assert {"httponly", "samesite=strict", "path=/"} <= set(flags)
        assert not any(flag.startswith("domain") or flag == "secure" for flag in flags)
    async with _browser(panel, **{"X-Forwarded-Proto": "https"}) as other:
        for cookie in (await _sign_in(other)).headers.get_list("set-cookie"):
            assert cookie.startswith("__Host-earshot")
            flags = cookie.lower().split("; ")[1:]
            assert {"secure", "httponly", "samesite=strict", "path=/"} <= set(flags)
            assert not any(flag.startswith("domain") for flag in flags)


async def test_a_planted_cookie_is_worth_nothing(panel: Panel, browser: httpx.AsyncClient) -> None:
    await set_up(panel, browser)
    planted = "A" * 43
    async with _browser(panel, Cookie=f"earshot={planted}") as victim:
        signed = await _sign_in(victim)
        assert signed.status_code == 303
        assert signed.cookies["earshot"] != planted
    async with _browser(panel, Cookie=f"earshot={planted}") as thief:
        assert (await thief.get(SESSIONS)).status_code == 401


async def test_signing_in_again_ends_the_sign_in_before(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    before = (await set_up(panel, browser)).cookies["earshot"]
    await _sign_in(browser)
    async with _browser(panel, Cookie=f"earshot={before}") as old:
        assert (await old.get(SESSIONS)).status_code == 401
    assert (await browser.get(SESSIONS)).status_code == 200


async def test_a_copied_cookie_ends_with_the_sign_out(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    copied = (await set_up(panel, browser)).cookies["earshot"]
    out = await browser.post("/sign-out")
    assert (out.status_code, out.headers["location"]) == (303, "/sign-in")
    assert 'earshot=""' in out.headers["set-cookie"]
    async with _browser(panel, Cookie=f"earshot={copied}") as replay:
        assert (await replay.get(SESSIONS)).status_code == 401
        assert (await replay.post("/sign-out")).status_code == 303


async def test_a_sign_in_that_is_not_used_ends_and_so_does_every_other(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    await set_up(panel, browser)
    limits = panel.desk.settings.access
    for idle_s, longest_s in ((0, 43200), (1800, 0)):
        limits.idle_s, limits.longest_s = 1800, 43200
        await _sign_in(browser)
        assert (await browser.get(SESSIONS)).status_code == 200
        limits.idle_s, limits.longest_s = idle_s, longest_s
        assert (await browser.get(SESSIONS)).status_code == 401
    limits.idle_s, limits.longest_s = 1800, 43200
    assert (await browser.get(SESSIONS)).status_code == 401, "what has ended does not begin again"


async def test_nothing_but_digests_is_kept(panel: Panel, browser: httpx.AsyncClient) -> None:
    code = _code(panel)
    done = await browser.post(
        "/set-up", data={"code": code, "password": PASSWORD, "again": PASSWORD}
    )
    kept = b"".join(
        path.read_bytes() for path in panel.desk.settings.data_dir.rglob("*") if path.is_file()
    )
    for secret in (code, PASSWORD, done.cookies["earshot"]):
        assert secret.encode() not in kept


async def test_people_are_led_to_the_sign_in_page_and_back(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    await set_up(panel, browser)
    browser.cookies.clear()
    away = await browser.get("/talk?x=1")
    assert (away.status_code, away.headers["location"]) == (303, "/sign-in?next=/talk%3Fx%3D1")
    page = await browser.get(away.headers["location"])
    assert 'value="/talk?x=1"' in page.text
    form = {"password": PASSWORD, "next": "/talk?x=1"}
    assert (await browser.post("/sign-in", data=form)).headers["location"] == "/talk?x=1"


@pytest.mark.parametrize(
    "wanted",
    ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:x",
     "/ok\r\nSet-Cookie: a=b", "/\u202eevil", ""],
)  # fmt: skip
async def test_signing_in_leads_nowhere_else(
    panel: Panel, browser: httpx.AsyncClient, wanted: str
) -> None:
    await set_up(panel, browser)
    answer = await browser.post("/sign-in", data={"password": PASSWORD, "next": wanted})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_a_part_of_a_page_sends_the_whole_page_away(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    answer = await browser.get(
        SESSIONS,
        headers={"HX-Request": "true", "HX-Current-URL": "http://localhost:8080/calls?q=x"},
    )
    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/sign-in?next=/calls%3Fq%3Dx"


async def test_other_sites_cannot_use_the_forms(panel: Panel, browser: httpx.AsyncClient) -> None:
    await set_up(panel, browser)
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}):
        answer = await browser.post("/sign-in", data={"password": PASSWORD}, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_refused")
    del browser.headers["Origin"]
    answer = await _sign_in(browser)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "client_header_missing")


async def test_guessing_is_slowed_down_and_the_owner_is_not_kept_out(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    await set_up(panel, browser)
    async with _browser(panel, **{"X-Forwarded-For": "192.0.2.66"}) as stranger:
        seen = [(await _sign_in(stranger, f"guess number {n}")).status_code for n in range(5)]
        assert seen == [401] * 5
        sixth = await _sign_in(stranger)
        assert sixth.status_code == 429, "even the right one has to wait"
        assert 1 <= int(sixth.headers["retry-after"]) <= 60
        assert "Too many tries" in sixth.text
    async with _browser(panel, **{"X-Forwarded-For": "192.0.2.7"}) as owner:
        assert (await _sign_in(owner)).status_code == 303
    # The owner's own browser is a place of its own, even behind the same address.
    browser.headers["X-Forwarded-For"] = "192.0.2.66"
    assert (await _sign_in(browser)).status_code == 303
    assert panel.http.headers["Authorization"]
    assert (await panel.http.get(SESSIONS)).status_code == 200, "the command never waits"


async def test_the_right_password_works_when_the_wait_is_over(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    await set_up(panel, browser)
    async with _browser(panel, **{"X-Forwarded-For": "192.0.2.66"}) as guest:
        seen = [(await _sign_in(guest, f"guess number {n}")).status_code for n in range(6)]
        assert seen == [401] * 5 + [429]
        _let_time_pass(panel, 61)
        assert (await _sign_in(guest)).status_code == 303


def _let_time_pass(panel: Panel, seconds: int) -> None:
    with panel.store.write() as connection:
        connection.exec_driver_sql(
            "UPDATE attempts SET at = datetime(at, ?)", (f"-{seconds} seconds",)
        )


async def test_the_account_signs_others_out_and_changes_the_password(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    await set_up(panel, browser)
    async with _browser(panel, **{"User-Agent": "Mozilla/5.0 (X11; Linux) Firefox/140.0"}) as other:
        await _sign_in(other)
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
        await _sign_in(other)
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
        assert (await _sign_in(other)).status_code == 401
        assert (await _sign_in(other, "a newer one " * 2)).status_code == 303


async def test_keys_are_made_and_revoked_on_the_page(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    await set_up(panel, browser)
    form = {"name": "<i>WebUI</i>", "scopes": ["speech", "read"], "days": "30"}
    made = await browser.post("/access/keys", data=form)
    assert made.status_code == 200
    assert "<i>WebUI" not in made.text
    found = re.findall(r"earshot_[0-9a-f]{16}_[\w-]{43}", made.text)
    assert len(found) == 1
    assert found[0] not in (await browser.get("/access/keys")).text
    async with _browser(panel, Authorization=f"Bearer {found[0]}") as program:
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
    ]
    for wrong in mistakes:
        answer = await browser.post("/access/keys", data={**form, **wrong})
        assert answer.status_code == 400
        assert 'role="alert"' in answer.text
    assert panel.store.api_keys.all() == []


async def test_a_form_whose_sign_in_has_ended_leads_to_the_sign_in(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    await set_up(panel, browser)
    browser.cookies.clear()
    answer = await browser.post("/access/keys", data={"name": "x", "scopes": ["admin"]})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert panel.store.api_keys.all() == []


async def test_the_public_address_is_one_of_the_boxs_names(tmp_path: Path) -> None:
    settings = box_settings(tmp_path / "data", public_url="https://ear.example.lan:8443")
    async with running_panel(settings) as panel, _browser(panel) as client:
        own = {"Host": "ear.example.lan:8443", "Origin": "https://ear.example.lan:8443"}
        assert (await client.get("/sign-in", headers=own)).status_code == 200
        assert (await client.post("/sign-out", headers=own)).status_code == 303
        for host in ("ear.example.lan", "ear.example.lan:8080", "x.ear.example.lan:8443"):
            assert (await client.get("/sign-in", headers={"Host": host})).status_code == 421
        for origin in ("https://ear.example.lan", "https://evil.example:8443"):
            answer = await client.post("/sign-out", headers={**own, "Origin": origin})
            assert answer.json()["error"]["code"] == "origin_refused"


def test_admin_reset_signs_everybody_out_and_opens_the_box_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_DATA_DIR", str(tmp_path / "data"))
    settings = box_settings(tmp_path / "data")
    before = new_set_up_link(settings).partition("code=")[2]
    store = open_store(settings)
    store.owner.claim("hash")
    store.sign_ins.add("d" * 64, "local", "test", "hash")
    store.attempts.begin("192.0.2.7", lambda _tries, _now: 0, ())
    done = CliRunner().invoke(build(), ["admin", "reset"])
    assert done.exit_code == 0
    code = done.stdout.split()[-1].partition("code=")[2]
    assert store.owner.password_hash() is None
    assert store.sign_ins.all(1800, 43200) == []
    assert is_set_up_code(settings, code)
    assert not is_set_up_code(settings, before)
    assert [row.action for row in store.audit.list()[0]] == ["owner.reset"]
    assert code not in done.stderr
    store.close()
