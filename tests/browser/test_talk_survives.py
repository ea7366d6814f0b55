"""The media server dies under an open page: the page says so, comes back and the talk goes on."""

from __future__ import annotations

import pytest

from tests.box import Box
from tests.browser.chromium import visit

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def test_the_talk_goes_on_after_the_media_server_was_killed(box: Box) -> None:
    with visit(box.url, path="/talk", cookies=box.sign_in(), scheme="dark") as visited:
        visited.page.click("#start")
        visited.until(lambda: visited.lines("agent"), 30, "the greeting")
        visited.wait_phase("listening", 15)
        visited.page.click("#mute")
        visited.until(lambda: visited.text("#title") == "Muted", 5, "muted")

        box.kill("livekit")
        visited.wait_phase("reconnecting", 10)
        visited.shot("lost-1-reconnecting")
        visited.wait_phase("listening", 30)
        assert visited.text("#mute") == "Unmute"
        assert len(visited.lines("agent")) >= 1

        before = len(visited.lines("agent"))
        visited.page.fill("#message", "What is the capital of France?")
        visited.page.keyboard.press("Enter")
        visited.until(lambda: len(visited.lines("agent")) > before, 40, "an answer")
        visited.shot("lost-2-answered")
        visited.until(lambda: "paris" in visited.lines("agent")[-1].lower(), 15, "its words")
        silent = visited.sent()["energy"]
        visited.page.click("#mute")
        visited.until(lambda: visited.sent()["energy"] > silent, 10, "the microphone again")
        visited.page.click("#end")
        visited.wait_phase("ended", 5)
        assert visited.strangers == []
        assert visited.observed("violations") == []
        assert visited.observed("iceServers") == []
    box.wait_ready()
