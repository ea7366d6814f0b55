"""The first page in a real Chromium, against the whole box: it shows it, stays true, restarts programs."""

from __future__ import annotations

import re

import httpx
import pytest

from appliance.supervision import supervisor_of
from tests.box import Box
from tests.browser.chromium import Cookies, Visit, visit

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

PROGRAMS = ("livekit", "stt", "llm", "tts", "agent", "panel", "front", "front-spare")
# A program is gone and loaded again; the machine may have much else to do.
_BACK_S = 90.0


@pytest.fixture(scope="module")
def cookies(box: Box) -> Cookies:
    """The owner's sign-in."""
    return box.sign_in()


def _state(visited: Visit, program: str) -> str:
    return visited.text(f"#program-{program} .badge")


def _mark(visited: Visit) -> None:
    visited.page.evaluate("() => { window.marked = true; }")


def _assert_never_reloaded(visited: Visit) -> None:
    assert visited.page.evaluate("() => window.marked") is True


def test_the_first_page_shows_the_whole_box_as_it_is(box: Box, cookies: Cookies) -> None:
    box.wait_ready()
    with visit(box.url, cookies=cookies) as visited:
        _mark(visited)
        visited.until(lambda: visited.text("h1") == "Ready", 15, "the verdict")
        assert visited.page.title() == "Ready · Earshot"
        assert {_state(visited, name) for name in PROGRAMS} == {"ready"}
        for name in ("stt", "llm", "tts"):
            weight = visited.text(f"#program-{name} td:nth-child(5)")
            assert re.search(r"[1-9]\d* MiB|\d\.\d GiB", weight), weight
        parts = visited.text(".legend")
        for part in ("Language model", "Speech recognition", "Free"):
            assert part in parts
        assert "measured" in parts
        visited.until(lambda: visited.page.locator("#charts canvas").count() >= 3, 10, "the curves")
        with httpx.Client(
            base_url=box.url, headers={**box.auth, "X-Earshot-Client": "1"}, trust_env=False,
            timeout=30,
        ) as http:  # fmt: skip
            opened = http.post("/api/v1/sessions", json={"caller_name": "<b>Ann</b>"})
            assert opened.status_code == 201, opened.text
            visited.until(lambda: "<b>Ann</b>" in visited.text("#calls-now"), 20, "the call")
            assert "1 of " in visited.text("#verdict .lede")
            http.post(f"/api/v1/sessions/{opened.json()['session_id']}/end")
        visited.until(lambda: "Nobody is talking" in visited.text("#calls-now"), 30, "its end")
        _assert_never_reloaded(visited)
        visited.shot("home")
        visited.assert_clean()


def test_a_program_is_restarted_by_keyboard_and_its_log_is_read(box: Box, cookies: Cookies) -> None:
    box.wait_ready()
    before = box.pid("tts")
    with visit(box.url, cookies=cookies) as visited:
        _mark(visited)
        visited.until(lambda: _state(visited, "tts") == "ready", 15, "the voice's state")
        visited.page.locator("[data-restart=tts]").focus()
        visited.page.keyboard.press("Enter")
        visited.until(lambda: visited.page.locator("#confirm").is_visible(), 5, "the question")
        assert "Voice" in visited.text("#confirm-question")
        visited.page.keyboard.press("Escape")
        visited.until(lambda: not visited.page.locator("#confirm").is_visible(), 5, "its end")
        assert box.pid("tts") == before
        visited.page.keyboard.press("Enter")
        visited.page.keyboard.press("Tab")
        visited.page.keyboard.press("Enter")
        visited.until(lambda: "being restarted" in visited.text("#notices"), 10, "the notice")
        visited.until(lambda: visited.text("h1") == "Not ready", 20, "the verdict")
        assert "Voice" in visited.text("#verdict .reasons")
        visited.until(lambda: visited.text("h1") == "Ready", _BACK_S, "the voice")
        assert box.pid("tts") != before
        # The page was put over itself many times; the keyboard is where it was.
        assert visited.page.evaluate("() => document.activeElement.dataset.restart") == "tts"
        visited.page.click("[data-log=tts]")
        visited.until(lambda: "info" in visited.text("#log-lines"), 10, "the log")
        visited.page.keyboard.press("Escape")
        _assert_never_reloaded(visited)
        visited.assert_clean()


def test_the_page_says_when_the_box_is_away_and_comes_back(box: Box, cookies: Cookies) -> None:
    box.wait_ready()
    supervisor = supervisor_of(box.settings)
    with visit(box.url, cookies=cookies) as visited:
        _mark(visited)
        visited.until(lambda: visited.page.locator("#charts canvas").count() >= 3, 15, "the curves")
        supervisor.stop("panel")
        try:
            visited.until(lambda: "Not live" in visited.text("#live"), 30, "the notice")
            visited.shot("home-away")
        finally:
            supervisor.start("panel")
        visited.until(lambda: not visited.page.locator("#live").is_visible(), _BACK_S, "the box")
        before = box.pid("panel")
        visited.page.click("[data-restart=panel]")
        visited.page.click("#confirm-yes")
        visited.until(lambda: "being restarted" in visited.text("#notices"), 10, "the answer")
        visited.until(lambda: box.pid("panel") not in (0, before), _BACK_S, "another panel")
        visited.until(lambda: visited.text("h1") == "Ready", _BACK_S, "the verdict")
        _assert_never_reloaded(visited)
        assert visited.strangers == []
        assert visited.observed("violations") == []
    box.wait_ready()
