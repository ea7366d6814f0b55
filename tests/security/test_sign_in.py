"""Setting the password, signing in and out, and what a stranger makes of it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.panel_app import SESSIONS, Panel, box_settings, running_panel
from tests.security.owner import PASSWORD, a_browser, new_code, set_up, sign_in

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


async def test_the_link_sets_the_password_once(panel: Panel, browser: httpx.AsyncClient) -> None:
    code = new_code(panel)
    later = new_code(panel)
    assert "Set the password" in (await browser.get("/set-up", params={"code": code})).text
    done = await browser.post(
        "/set-up", data={"code": code, "password": PASSWORD, "again": PASSWORD}
    )
    assert (done.status_code, done.headers["location"]) == (303, "/")
    assert (await browser.get(SESSIONS)).status_code == 200
    for used in (code, later):
        async with a_browser(panel) as other:
            form = {
                "code": used,
                "password": "another one entirely",
                "again": "another one entirely",
            }
            again = await other.post("/set-up", data=form)
            assert again.status_code == 403
            assert (await sign_in(other, "another one entirely")).status_code == 401


@pytest.mark.parametrize("code", ["", "x", "0" * 43, "\udc80", "a\0b"])
async def test_a_wrong_link_sets_nothing(
    panel: Panel, browser: httpx.AsyncClient, code: str
) -> None:
    new_code(panel)
    form = {
        "code": code.encode("utf-8", "replace").decode(),
        "password": PASSWORD,
        "again": PASSWORD,
    }
    assert (await browser.post("/set-up", data=form)).status_code == 403
    assert panel.store.owner.password_hash() is None


async def test_wrong_links_do_not_fill_the_audit_log(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    wrong = {"code": "x", "password": PASSWORD, "again": PASSWORD}
    tries = [await browser.post("/set-up", data=wrong) for _ in range(8)]
    assert [one.status_code for one in tries] == [403] * 5 + [429] * 3
    assert int(tries[-1].headers["retry-after"]) > 0
    noted = [(row.action, row.result) for row in panel.store.audit.list()[0]]
    assert noted == [("owner.set_up", "refused")] * 5
    # The right one is not kept waiting, and afterwards nothing is written at all.
    assert (await set_up(panel, browser)).status_code == 303
    before = len(panel.store.audit.list()[0])
    async with a_browser(panel, **{"X-Forwarded-For": "192.0.2.7"}) as other:
        tries = [await other.post("/set-up", data=wrong) for _ in range(8)]
        assert [one.status_code for one in tries] == [403] * 8
    assert len(panel.store.audit.list()[0]) == before


@pytest.mark.parametrize(
    "password",
    ["short", "eleven char", "x" * 1025, "aaaaaaaaaaaaaaaa", "123456789012", "qwertyuiopas",
     "Passw0rd!!!!", "earshot-earshot", "abcabcabcabc", "password1234567", "987654321098"],
)  # fmt: skip
async def test_a_guess_is_no_password(
    panel: Panel, browser: httpx.AsyncClient, password: str
) -> None:
    form = {"code": new_code(panel), "password": password, "again": password}
    answer = await browser.post("/set-up", data=form)
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert panel.store.owner.password_hash() is None


async def test_the_password_is_kept_as_argon2id(
    costly_passwords: None, panel: Panel, browser: httpx.AsyncClient
) -> None:
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
    async with a_browser(panel, **{"X-Forwarded-Proto": "https"}) as other:
        for cookie in (await sign_in(other)).headers.get_list("set-cookie"):
            assert cookie.startswith("__Host-earshot")
            flags = cookie.lower().split("; ")[1:]
            assert {"secure", "httponly", "samesite=strict", "path=/"} <= set(flags)
            assert not any(flag.startswith("domain") for flag in flags)


async def test_over_the_public_address_the_cookie_is_secure_and_each_asker_a_place(
    tmp_path: Path,
) -> None:
    settings = box_settings(tmp_path / "data", public_url="https://box.example:443")
    async with running_panel(settings) as panel:
        public = {"Host": "box.example", "Origin": "https://box.example"}
        async with a_browser(panel, **public, **{"X-Forwarded-For": "203.0.113.7"}) as owner:
            for cookie in (await set_up(panel, owner)).headers.get_list("set-cookie"):
                assert cookie.startswith("__Host-earshot")
                assert "secure" in cookie.lower().split("; ")
        async with a_browser(panel, **public, **{"X-Forwarded-For": "198.51.100.9"}) as other:
            tries = [(await sign_in(other, f"wrong {n}")).status_code for n in range(6)]
            assert tries == [401] * 5 + [429]
        async with a_browser(panel, **public, **{"X-Forwarded-For": "203.0.113.7"}) as owner:
            signed = await sign_in(owner)
            assert signed.status_code == 303
            secret = re.search(r"__Host-earshot=([\w-]+)", signed.headers["set-cookie"])
            assert secret
            seen = await owner.get(SESSIONS, headers={"Cookie": f"__Host-earshot={secret[1]}"})
            assert seen.status_code == 200
            plain = await owner.get(SESSIONS, headers={"Cookie": f"earshot={secret[1]}"})
            assert plain.status_code == 401
        rows = panel.store.audit.list()[0]
        assert {row.address for row in rows} == {"203.0.113.7", "198.51.100.9"}


async def test_a_planted_cookie_is_worth_nothing(panel: Panel, browser: httpx.AsyncClient) -> None:
    await set_up(panel, browser)
    planted = "A" * 43
    async with a_browser(panel, Cookie=f"earshot={planted}") as victim:
        signed = await sign_in(victim)
        assert signed.status_code == 303
        assert signed.cookies["earshot"] != planted
    async with a_browser(panel, Cookie=f"earshot={planted}") as thief:
        assert (await thief.get(SESSIONS)).status_code == 401


async def test_signing_in_again_ends_the_sign_in_before(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    before = (await set_up(panel, browser)).cookies["earshot"]
    await sign_in(browser)
    async with a_browser(panel, Cookie=f"earshot={before}") as old:
        assert (await old.get(SESSIONS)).status_code == 401
    assert (await browser.get(SESSIONS)).status_code == 200


async def test_a_copied_cookie_ends_with_the_sign_out(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    copied = (await set_up(panel, browser)).cookies["earshot"]
    out = await browser.post("/sign-out")
    assert (out.status_code, out.headers["location"]) == (303, "/sign-in")
    assert 'earshot=""' in out.headers["set-cookie"]
    async with a_browser(panel, Cookie=f"earshot={copied}") as replay:
        assert (await replay.get(SESSIONS)).status_code == 401
        assert (await replay.post("/sign-out")).status_code == 303


async def test_a_sign_in_that_is_not_used_ends_and_so_does_every_other(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    await set_up(panel, browser)
    limits = panel.desk.settings.access
    for idle_s, longest_s in ((0, 43200), (1800, 0)):
        limits.idle_s, limits.longest_s = 1800, 43200
        await sign_in(browser)
        assert (await browser.get(SESSIONS)).status_code == 200
        limits.idle_s, limits.longest_s = idle_s, longest_s
        assert (await browser.get(SESSIONS)).status_code == 401
    limits.idle_s, limits.longest_s = 1800, 43200
    assert (await browser.get(SESSIONS)).status_code == 401, "what has ended does not begin again"


async def test_nothing_but_digests_is_kept(panel: Panel, browser: httpx.AsyncClient) -> None:
    code = new_code(panel)
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
    answer = await sign_in(browser)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "client_header_missing")


async def test_guessing_is_slowed_down_and_the_owner_is_not_kept_out(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    await set_up(panel, browser)
    async with a_browser(panel, **{"X-Forwarded-For": "192.0.2.66"}) as stranger:
        seen = [(await sign_in(stranger, f"guess number {n}")).status_code for n in range(5)]
        assert seen == [401] * 5
        sixth = await sign_in(stranger)
        assert sixth.status_code == 429, "even the right one has to wait"
        assert 1 <= int(sixth.headers["retry-after"]) <= 60
        assert "Too many tries" in sixth.text
    async with a_browser(panel, **{"X-Forwarded-For": "192.0.2.7"}) as owner:
        assert (await sign_in(owner)).status_code == 303
    # The owner's own browser is a place of its own, even behind the same address.
    browser.headers["X-Forwarded-For"] = "192.0.2.66"
    assert (await sign_in(browser)).status_code == 303
    assert panel.http.headers["Authorization"]
    assert (await panel.http.get(SESSIONS)).status_code == 200, "the command never waits"


async def test_the_right_password_works_when_the_wait_is_over(
    panel: Panel, browser: httpx.AsyncClient
) -> None:
    await set_up(panel, browser)
    async with a_browser(panel, **{"X-Forwarded-For": "192.0.2.66"}) as guest:
        seen = [(await sign_in(guest, f"guess number {n}")).status_code for n in range(6)]
        assert seen == [401] * 5 + [429]
        _let_time_pass(panel, 61)
        assert (await sign_in(guest)).status_code == 303


def _let_time_pass(panel: Panel, seconds: int) -> None:
    with panel.store.write() as connection:
        connection.exec_driver_sql(
            "UPDATE attempts SET at = datetime(at, ?)", (f"-{seconds} seconds",)
        )
