"""A box is taken out of its carton: set up by the printed link, signed out of, signed in to."""

from __future__ import annotations

import re

import pytest

from tests.browser.chromium import visit
from tests.browser.conftest import FreshBox

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

_PASSWORD = "nine small horses whistle"


def test_the_printed_link_sets_the_password_once(fresh: FreshBox) -> None:
    found = re.search(re.escape(fresh.box.url) + r"(/set-up\?code=\S+)", fresh.printed)
    assert found, fresh.printed
    link = found[1]
    with visit(fresh.box.url, path="/models") as visited:
        page = visited.page
        visited.until(lambda: "no password yet" in visited.text("h1"), 10, "what to do")
        visited.look("sign-in-before")

        visited.go(link)
        visited.look("set-up")
        page.fill("#password", _PASSWORD)
        page.fill("#again", _PASSWORD + "s")
        page.click("button.primary")
        visited.until(lambda: "not the same" in visited.text("[role=alert].bad"), 10, "the reason")
        page.fill("#password", _PASSWORD)
        page.fill("#again", _PASSWORD)
        page.keyboard.press("Enter")
        visited.until(lambda: "Ready" in page.title(), 20, "the home page")

        page.click('form[action="/sign-out"] button')
        visited.until(lambda: page.url.endswith("/sign-in"), 10, "signed out")
        visited.go(link)
        assert "set up already" in visited.text("h1")
        visited.complaints.clear()

        visited.go("/calls?q=hello")
        assert visited.text("h1") == "Sign in"
        visited.look("sign-in")
        page.fill("#password", "a wrong password")
        page.keyboard.press("Enter")
        visited.until(lambda: page.locator("[role=alert].bad").count(), 10, "a refusal")
        page.fill("#password", _PASSWORD)
        page.keyboard.press("Enter")
        visited.until(lambda: page.url.endswith("/calls?q=hello"), 10, "the page that was wanted")
        # A browser writes refused sign-ins on its console; nothing else may be there.
        assert all("status of 4" in complaint for complaint in visited.complaints)
        visited.complaints.clear()
        visited.assert_clean()
