"""The page in a real Chromium, against the whole box: hear, speak, write, mute, end, fail."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Dialog, Route

from tests.box import Box
from tests.browser.chromium import Cookies, Visit, spoken, visit
from tests.recordings import DATA, error_rate, knows_france

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

# Long enough for the greeting: the caller should not talk over it.
_SILENCE_S = 12.0
_GREETING_S = 15.0
_ANSWER_S = 40.0


@pytest.fixture(scope="module")
def cookies(box: Box) -> Cookies:
    """The owner's sign-in."""
    return box.sign_in()


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
    assert visited.page.evaluate("document.activeElement.id") == "start"
    visited.until(lambda: visited.text("#footnote"), 15, "the kept transcript")
    assert visited.text("#footnote") == "This is what the box keeps of the call."


def test_a_spoken_question_is_answered(box: Box, cookies: Cookies, tmp_path: Path) -> None:
    wav = spoken(tmp_path / "microphone.wav", DATA / "questions" / "france.flac", _SILENCE_S)
    with visit(box.url, path="/talk", cookies=cookies, microphone=wav) as visited:
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
        # The same figures that the box keeps, for the answer that was spoken and no other.
        wait = visited.until(lambda: visited.text("#speed-last"), 5, "how fast that was")
        visited.page.click("#speed summary")
        assert visited.page.locator("#speed figure").count() == 1
        # The greeting before it is no answer.
        assert visited.text("#speed figcaption").startswith("Answer 1:")
        assert visited.page.locator("#speed figure li").count() == 5
        assert visited.text("#speed figure li:last-child .time") == wait
        assert re.fullmatch(r"\d+\.\d\d s", wait)
        visited.until(lambda: "directly (UDP)" in visited.text("#line"), 10, "the connection")
        assert re.fullmatch(r"\d:\d\d of 120:00", visited.text("#clock"))
        visited.shot("talk-3-answered")
        visited.look("talk-call", whole=False)
        assert error_rate(["What is the capital of France?"], [heard]) <= 0.2
        assert knows_france(heard, answer)

        _hang_up(visited)
        visited.page.click("#thumb-down")
        visited.until(lambda: "kept" in visited.text("#feedback-said"), 5, "the thumb kept")
        visited.page.fill("#note", "Too <b>slow</b>.")
        visited.page.click("#feedback [type=submit]")
        thought = {"thumb": -1, "note": "Too <b>slow</b>."}
        visited.until(lambda: _latest(box)["feedback"]["caller"] == thought, 5, "the note kept")
        kept = _latest(box)["turns"][1]["ms"]
        assert f"{kept['first_sound'] / 1000:.2f} s" == wait
        visited.look("talk-ended", whole=False)
        assert visited.lines("you") == [heard]
        assert answer in visited.lines("agent")
        visited.assert_clean()


def test_muting_stops_the_sound_and_writing_goes_on(box: Box, cookies: Cookies) -> None:
    with visit(
        box.url, path="/talk", cookies=cookies, microphone="beeps", width=390, scheme="dark"
    ) as visited:
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


def test_without_a_microphone_the_keyboard_is_enough(box: Box, cookies: Cookies) -> None:
    with visit(box.url, path="/talk", cookies=cookies, microphone="denied", width=390) as visited:
        visited.page.keyboard.press("Tab")
        visited.page.keyboard.press("Enter")
        assert visited.page.evaluate("document.activeElement.id") == "main"
        visited.page.keyboard.press("Tab")
        # Where there is more than one persona, who answers is asked first.
        if visited.page.evaluate("document.activeElement.id") == "persona":
            visited.page.keyboard.press("Tab")
        assert visited.page.evaluate("document.activeElement.id") == "start"
        visited.page.keyboard.press("Enter")
        visited.until(
            lambda: "not allowed to use the microphone" in visited.text("#call-notices"),
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


def test_another_persona_answers(box: Box, cookies: Cookies) -> None:
    persona = box.settings.data_dir / "personas" / "nurse.yaml"
    persona.parent.mkdir(exist_ok=True)
    persona.write_text(
        "name: nurse\ntitle: Nurse <Anna>\ninstructions: Answer in one short sentence.\n"
        "greeting: Good morning, this is Anna.\nkeep_transcript: false\n"
    )
    try:
        with visit(box.url, path="/talk", cookies=cookies, microphone="denied") as visited:
            assert "are kept as text" in visited.text("#retention")
            visited.page.select_option("#persona", "nurse")
            assert visited.text("#title") == "Talk with Nurse <Anna>"
            assert "Neither the words nor the sound" in visited.text("#retention")
            assert visited.faults() == []
            visited.page.click("#start")
            visited.until(lambda: "Good morning" in "".join(visited.lines("agent")), 30, "Anna")
            visited.wait_phase("listening", 15)
            visited.page.click("#end")
            visited.wait_phase("ended", 5)
            visited.until(lambda: "keeps no words" in visited.text("#footnote"), 15, "the promise")
    finally:
        persona.unlink()


def test_a_box_that_refuses_says_why(box: Box, cookies: Cookies) -> None:
    words = {
        "code": "box_full",
        "message": "All seats are taken.",
        "hint": "Try again in a minute.",
    }

    def refuse(route: Route) -> None:
        route.fulfill(status=503, json={"error": words})

    with visit(
        box.url, path="/talk", cookies=cookies, microphone="beeps", width=390, scheme="dark"
    ) as visited:
        visited.page.route("**/api/v1/sessions", refuse)
        visited.page.click("#start")
        visited.until(lambda: visited.text("#call-notices"), 10, "the reason")
        visited.shot("refused")
        assert visited.text("#call-notices") == "All seats are taken. Try again in a minute."
        assert visited.phase() == "ready"
        assert visited.page.locator("#start").is_visible()


def test_the_microphone_is_tried_before_the_call(
    box: Box, cookies: Cookies, tmp_path: Path
) -> None:
    wav = spoken(tmp_path / "microphone.wav", DATA / "questions" / "france.flac", 1.5)
    with visit(box.url, path="/talk", cookies=cookies, microphone=wav, width=390) as visited:
        assert _level(visited) == 0
        visited.page.focus("#sound summary")
        visited.page.keyboard.press("Enter")
        visited.until(lambda: visited.page.locator("#microphone option").count() > 1, 10, "devices")
        # The recording is played once, from when the microphone is opened.
        visited.page.click("#echo")
        visited.until(lambda: _level(visited) > 0.2, 10, "a level")
        visited.until(lambda: "works" in visited.text("#echo-result"), 15, "the verdict")
        visited.look("talk-sound")

        other = visited.page.locator("#microphone option").nth(1).get_attribute("value")
        visited.page.select_option("#microphone", other)
        visited.page.reload()
        visited.page.click("#sound summary")
        visited.until(lambda: visited.page.input_value("#microphone") == other, 5, "the same again")
        visited.assert_clean()


def test_without_sound_the_test_says_so(box: Box, cookies: Cookies, tmp_path: Path) -> None:
    wav = spoken(tmp_path / "microphone.wav", DATA / "questions" / "france.flac", 60)
    with visit(box.url, path="/talk", cookies=cookies, microphone=wav) as visited:
        visited.page.click("#sound summary")
        visited.until(lambda: visited.page.locator("#echo").is_enabled(), 10, "the test")
        visited.page.click("#echo")
        visited.until(lambda: "Nothing was heard" in visited.text("#echo-result"), 15, "a verdict")


def test_an_unplugged_microphone_is_replaced(box: Box, cookies: Cookies) -> None:
    with visit(box.url, path="/talk", cookies=cookies) as visited:
        visited.page.click("#start")
        visited.until(lambda: visited.sent()["energy"] > 0, _GREETING_S, "sound")
        visited.until(lambda: visited.page.locator("#input-level").is_visible(), 5, "the level")
        visited.until(lambda: _level(visited, "#input-level") > 0.2, 10, "the caller's level")
        # What a browser does when a device is pulled out.
        visited.page.evaluate("() => window.unplug()")
        visited.until(lambda: "was unplugged" in visited.text("#call-notices"), 10, "the notice")
        before = visited.sent()["energy"]
        visited.until(lambda: visited.sent()["energy"] > before * 1.05, 10, "sound again")
        visited.page.click("#end")
        visited.wait_phase("ended", 5)
        assert visited.observed("violations") == []


def test_the_page_is_not_left_by_accident_during_a_call(box: Box, cookies: Cookies) -> None:
    with visit(box.url, path="/talk", cookies=cookies) as visited:
        asked: list[str] = []

        def stay(dialog: Dialog) -> None:
            asked.append(dialog.type)
            dialog.dismiss()

        visited.page.on("dialog", stay)
        visited.page.click("#start")
        visited.until(lambda: visited.phase() == "listening", 30, "a call")
        visited.page.click("a[href='/calls']", no_wait_after=True)
        visited.until(lambda: asked, 5, "the question")
        assert asked == ["beforeunload"]
        assert visited.phase() != "ended"
        visited.page.click("#end")
        visited.wait_phase("ended", 5)


def _level(visited: Visit, meter: str = "#level") -> float:
    level: float = visited.page.locator(meter).evaluate("meter => meter.value")
    return level


def _latest(box: Box) -> dict[str, Any]:
    """The newest call, with its turns."""
    calls = f"{box.url}/api/v1/calls"
    found = httpx.get(calls, params={"limit": 1}, headers=box.auth).json()["calls"][0]
    call: dict[str, Any] = httpx.get(f"{calls}/{found['session_id']}", headers=box.auth).json()
    return call


def test_the_page_loads_nothing_it_does_not_bring(box: Box, cookies: Cookies) -> None:
    answer = httpx.get(f"{box.url}/talk", cookies={each["name"]: each["value"] for each in cookies})
    policy, html = answer.headers["Content-Security-Policy"], answer.text
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    for forbidden in ("<style", "style=", "onclick", "http://", "https://", "<script>"):
        assert forbidden not in html
    assert '"/static/dist/talk.js"' in html
