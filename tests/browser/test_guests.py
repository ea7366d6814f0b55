"""Guests come by links: they see the call and nothing else, wait their turn, and can be locked out."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.browser.chromium import Cookies, Visit, visit
from tests.browser.conftest import FreshBox

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def _new_link(fresh: FreshBox, owner: Cookies) -> tuple[str, str]:
    """Make a link on the page Access; returns its path for guests and its own page's."""
    with visit(fresh.box.url, path="/access", cookies=owner) as visited:
        page = visited.page
        page.click("[data-opens=new-link]")
        page.fill("#link-name", "Reception")
        page.fill("#link-minutes", "5")
        visited.look("access-new", whole=False)
        page.click("#link-form [type=submit]")
        address = page.locator("#link-url")
        visited.until(address.count, 10, "the link")
        visited.until(
            lambda: page.locator("img.qr").evaluate("qr => qr.naturalWidth"), 10, "a code"
        )
        visited.look("access-link")
        visited.assert_clean()
        found = re.search(r"/join/\S+$", address.input_value())
        assert found
        return found[0], page.url.removeprefix(fresh.box.url)


def _call(visited: Visit) -> None:
    visited.page.click("#start")
    visited.until(lambda: visited.lines("agent"), 30, "the greeting")
    visited.wait_phase("listening", 15)


def test_a_guest_talks_and_is_locked_out(fresh: FreshBox, owner: Cookies) -> None:
    link, its_page = _new_link(fresh, owner)
    with (
        visit(fresh.box.url, path=its_page, cookies=owner) as owned,
        visit(fresh.box.url, path=link, width=390, scheme="dark") as guest,
    ):
        assert guest.page.locator("nav").count() == 0
        assert "the sound is never kept" in guest.text("#retention")
        guest.look("join")
        if guest.page.locator("#caller-name").count():
            guest.page.fill("#caller-name", "Ann <i>")
        _call(guest)
        guest.until(lambda: " of 5:00" in guest.text("#clock"), 10, "the longest length")
        guest.page.fill("#message", "What is the capital of France?")
        guest.page.keyboard.press("Enter")
        guest.until(lambda: len(guest.lines("agent")) > 1, 40, "an answer")
        guest.look("join-call", whole=False)
        guest.wait_phase("listening", 15)

        # The rest of the box is closed to a guest.
        for path in ("/calls", "/api/v1/sessions", "/api/v1/calls", "/v1/models"):
            answer = httpx.get(fresh.box.url + path)
            assert answer.status_code in (303, 401), path

        owned.page.reload()
        owned.page.locator("button", has_text="Take back and end").click()
        owned.page.click("#confirm-yes")
        guest.wait_phase("ended", 20)
        guest.until(
            lambda: "took your link back" in guest.text("#call-notices"), 15, "who ended it"
        )
        # Not `assert_clean`: a room that is closed under the page is an error on its console.
        assert guest.strangers == []
        assert guest.observed("violations") == []

        guest.go(link)
        assert guest.text("h1") == "No call here"
        guest.look("join-closed")


def test_two_guests_share_one_seat(fresh: FreshBox, owner: Cookies) -> None:
    link, _ = _new_link(fresh, owner)
    with (
        visit(fresh.box.url, path=link) as first,
        visit(fresh.box.url, path=link, width=390) as second,
        visit(fresh.box.url, path=link) as third,
    ):
        _call(first)
        second.page.click("#start")
        second.wait_phase("queued", 5)
        second.until(lambda: "You are next." in second.text("#detail"), 5, "the place")
        third.page.click("#start")
        third.wait_phase("queued", 5)
        third.until(lambda: "One is before you." in third.text("#detail"), 5, "the place")
        second.look("queue", whole=False)
        assert second.sent()["seconds"] == 0

        # Who does not want to wait any longer leaves no hole.
        third.page.click("#end")
        third.wait_phase("ready", 5)

        first.page.click("#end")
        first.wait_phase("ended", 10)
        second.until(lambda: second.lines("agent"), 45, "the greeting of the one who waited")
        second.wait_phase("listening", 15)
        second.until(
            lambda: second.sent()["energy"] > 0, 15, "the microphone of the one who waited"
        )
        second.page.click("#end")
        second.wait_phase("ended", 10)
        assert [text for text in second.complaints if "503" not in text] == []
