"""The page in a real Chromium, against the whole box: hear, speak, write, mute, end, fail."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Route

from tests.box import Box
from tests.browser.chromium import Visit, spoken, visit
from tests.recordings import DATA, error_rate

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

# Long enough for the greeting: the caller should not talk over it.
_SILENCE_S = 12.0
_GREETING_S = 15.0
_ANSWER_S = 40.0


def _greeted(visited: Visit) -> None:
    visited.until(lambda: visited.observed("loudMs") >= 500, _GREETING_S, "a greeting to hear")
    visited.until(lambda: visited.lines("agent"), _GREETING_S, "the greeting's words")
    visited.wait_phase("listening", _GREETING_S)


def _ask_in_writing(visited: Visit, question: str) -> str:
    before = len(visited.lines("agent"))
    visited.page.fill("#message", question)
    visited.page.keyboard.press("Enter")
    visited.until(lambda: question in visited.lines("you"), 5, "the written words")
    visited.until(lambda: len(visited.lines("agent")) > before, _ANSWER_S, "an answer")
    visited.wait_phase("listening", 15)
    return visited.lines("agent")[-1]


def _let_pass(visited: Visit, seconds: float) -> None:
    """Until the microphone's track has sent this much more, sound or silence."""
    until = visited.sent()["seconds"] + seconds
    visited.until(lambda: visited.sent()["seconds"] >= until, seconds + 10, "time in the track")


def _hang_up(visited: Visit) -> None:
    visited.page.click("#end")
    visited.wait_phase("ended", 5)
    visited.until(lambda: visited.text("#footnote"), 15, "the kept transcript")
    assert visited.text("#footnote") == "This is what the box keeps of the call."


def test_a_spoken_question_is_answered(box: Box, tmp_path: Path) -> None:
    wav = spoken(tmp_path / "microphone.wav", DATA / "questions" / "france.flac", _SILENCE_S)
    with visit(box.url, microphone=wav) as visited:
        visited.shot("talk-1-ready")
        visited.page.click("#start")
        _greeted(visited)
        visited.shot("talk-2-greeted")
        visited.until(lambda: visited.lines("you"), _SILENCE_S + 20, "the spoken words")
        loud = visited.observed("loudMs")
        visited.until(lambda: len(visited.lines("agent")) > 1, _ANSWER_S, "an answer")
        visited.until(lambda: visited.observed("loudMs") > loud + 300, 10, "an answer to hear")
        heard, answer = " ".join(visited.lines("you")), visited.lines("agent")[1]
        visited.wait_phase("listening", 15)
        visited.shot("talk-3-answered")
        assert error_rate(["What is the capital of France?"], [heard]) <= 0.2
        assert "paris" in answer.lower()

        _hang_up(visited)
        visited.shot("talk-4-ended")
        assert visited.lines("you") == [heard]
        assert answer in visited.lines("agent")
        assert visited.page.evaluate("document.activeElement.id") == "start"
        visited.assert_clean()


def test_muting_stops_the_sound_and_writing_goes_on(box: Box) -> None:
    with visit(box.url, microphone="beeps", width=390, scheme="dark") as visited:
        visited.page.click("#start")
        visited.until(
            lambda: visited.sent()["energy"] > 0, _GREETING_S, "sound from the microphone"
        )
        visited.page.click("#mute")
        visited.until(lambda: visited.text("#mute") == "Unmute", 5, "muted")
        # The figures lag a little behind the button; one beep comes each second.
        _let_pass(visited, 0.5)
        before = visited.sent()["energy"]
        _let_pass(visited, 3)
        assert visited.sent()["energy"] == pytest.approx(before, rel=1e-3)

        _greeted(visited)
        visited.until(lambda: visited.text("#title") == "Muted", 15, "the state Muted")
        answer = _ask_in_writing(visited, "What is the capital of France?")
        assert "paris" in answer.lower()
        visited.shot("mute-1-written")

        before = visited.sent()["energy"]
        visited.page.click("#mute")
        visited.until(lambda: visited.sent()["energy"] > before * 1.05, 10, "sound again")
        visited.page.click("#mute")
        _hang_up(visited)
        assert visited.lines("agent")[-1] == answer
        visited.shot("mute-2-ended")
        visited.assert_clean()


def test_without_a_microphone_the_keyboard_is_enough(box: Box) -> None:
    with visit(box.url, microphone="denied", width=390) as visited:
        visited.page.keyboard.press("Tab")
        assert visited.page.evaluate("document.activeElement.id") == "start"
        visited.page.keyboard.press("Enter")
        visited.until(
            lambda: "not allowed to use the microphone" in visited.text("#notices"),
            10,
            "the reason",
        )
        _greeted(visited)
        visited.shot("denied-1-sentence")
        assert "Type to" in visited.text("#detail")
        visited.page.focus("#message")
        assert _ask_in_writing(visited, "What color is the sky?")
        for _ in range(3):
            visited.page.keyboard.press("Tab")
        assert visited.page.evaluate("document.activeElement.id") == "end"
        visited.page.keyboard.press("Enter")
        visited.wait_phase("ended", 5)
        visited.until(lambda: visited.text("#footnote"), 15, "the kept transcript")
        visited.page.keyboard.press("Enter")
        visited.until(lambda: visited.phase() != "ended", 5, "a second call")
        _greeted(visited)
        _hang_up(visited)
        visited.assert_clean()


def test_a_box_that_refuses_says_why(box: Box) -> None:
    words = {
        "code": "box_full",
        "message": "All seats are taken.",
        "hint": "Try again in a minute.",
    }

    def refuse(route: Route) -> None:
        route.fulfill(status=503, json={"error": words})

    with visit(box.url, microphone="beeps", width=390, scheme="dark") as visited:
        visited.page.route("**/api/v1/sessions", refuse)
        visited.page.click("#start")
        visited.until(lambda: visited.text("#notices"), 10, "the reason")
        visited.shot("refused")
        assert visited.text("#notices") == "All seats are taken. Try again in a minute."
        assert visited.phase() == "ready"
        assert visited.page.locator("#start").is_visible()


def test_the_page_loads_nothing_it_does_not_bring(box: Box) -> None:
    answer = httpx.get(box.url)
    policy, html = answer.headers["Content-Security-Policy"], answer.text
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    for forbidden in ("<style", "style=", "onclick", "http://", "https://", "<script>"):
        assert forbidden not in html
    assert '"/static/dist/talk.js"' in html
