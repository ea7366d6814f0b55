"""Every page of the panel, looked at: in light and dark, wide and on a phone, and judged by axe-core."""

from __future__ import annotations

import re

import httpx
import pytest

from appliance.measuring import results
from appliance.proof.reports import keep
from tests.browser.chromium import Cookies, visit
from tests.browser.conftest import FreshBox
from tests.unit.test_measuring import measured
from tests.unit.test_proof_page import proof

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]

# Below those of the navigation, which are found on the page.
_DEEPER = ("/access/keys", "/access/audit", "/account", "/personas/default", "/proof", "/speed")


def test_every_page_can_be_read_by_everyone(fresh: FreshBox, owner: Cookies) -> None:
    box = fresh.box
    keep(box.settings, proof())
    folder = results.folder_of(box.settings)
    results.writable(folder)
    results.write(folder, measured())
    calls = httpx.get(f"{box.url}/api/v1/calls", headers=box.auth).json()["calls"]
    read = [f"/calls/{calls[0]['session_id']}"] if calls else []
    with visit(box.url, cookies=owner) as visited:
        page = visited.page
        links = page.locator("nav#pages a").evaluate_all("all => all.map(a => a.pathname)")
        assert {"/", "/talk", "/calls", "/access", "/models", "/personas"} <= set(links)
        for path in dict.fromkeys([*links, *_DEEPER, *read]):
            visited.go(path)
            assert page.locator("h1").count() == 1, path
            assert re.fullmatch(r".+ [·–] Earshot", page.title()), f"{path}: {page.title()}"
            name = re.sub(r"/[0-9a-f]{32}$|/$", "", path).strip("/").replace("/", "-")
            visited.look(f"page-{name or 'home'}")
            visited.assert_clean()
        # For docs/panel.md, without the folders of the machine that runs this.
        visited.go("/doctor")
        visited.until(lambda: "are well" in visited.text("main"), 60, "the findings")
        page.evaluate("() => document.querySelectorAll('details').forEach(d => { d.open = false })")
        visited.shot("doctor-checked")


def test_the_menu_opens_on_a_phone(fresh: FreshBox, owner: Cookies) -> None:
    with visit(fresh.box.url, path="/account", cookies=owner, width=390) as visited:
        page = visited.page
        assert not page.locator("nav#pages").is_visible()
        page.focus("button.menu")
        page.keyboard.press("Enter")
        visited.until(page.locator("nav#pages").is_visible, 5, "the menu")
        assert visited.faults() == []
        visited.shot("menu-390")
        page.keyboard.press("Escape")
        visited.until(lambda: not page.locator("nav#pages").is_visible(), 5, "no menu")
        page.click("button.menu")
        page.click("nav#pages a[href='/talk']")
        visited.until(lambda: page.url.endswith("/talk"), 10, "the page that was chosen")
        visited.assert_clean()
