"""The pages of calls in a real Chromium: a call is watched, ended, read, judged, taken and deleted."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from appliance.store import EndState, open_store
from appliance.store.vocabulary import Visit as Visitor
from tests.box import Box
from tests.browser.chromium import Visit, visit
from tests.canary import files_with

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]
_GREETING_S = 30.0
_ANSWER_S = 40.0


def _press(visited: Visit, button: str, answer: str) -> None:
    """Press a button that asks first, and agree."""
    visited.page.click(button)
    visited.until(lambda: visited.page.locator("#confirm-yes").is_visible(), 5, "the question")
    assert visited.text("#confirm-yes") == answer
    visited.page.click("#confirm-yes")


def _spoken(box: Box) -> str:
    """A call of yesterday, with the times of a spoken turn."""
    store = open_store(box.settings)
    visit = Visitor("link", "Frau Müller")
    call = store.sessions.create(persona="default", keep_transcript=True, visit=visit)
    store.turns.begin(call.id, None)
    store.turns.finish(call.id, 0, "Hello. How can I help you?", interrupted=False, ms={})
    store.turns.begin(call.id, "Where is the X-ray room, please?")
    ms: dict[str, int | None] = {
        "transcript": 545, "end_of_turn": 548, "first_token": 635, "first_clause": 720,
        "first_sound": 877, "at_ear": None,
    }  # fmt: skip
    store.turns.finish(call.id, 1, "On the second floor, next", interrupted=True, ms=ms)
    store.calls.judge(call.id, "caller", thumb=-1, note="I could not hear the end.")
    store.sessions.end(call.id, EndState.CALLER_LEFT)
    store.close()
    return call.id


def test_a_call_from_its_first_word_to_its_deletion(box: Box, tmp_path: Path) -> None:
    cookies = box.sign_in()
    # No longer word may widen the page.
    canary = f"zebra{secrets.token_hex(24)}"
    with (
        visit(box.url, path="/talk", cookies=cookies) as caller,
        visit(box.url, path="/calls", cookies=cookies) as owner,
    ):
        caller.page.click("#start")
        caller.until(lambda: caller.lines("agent"), _GREETING_S, "the greeting's words")
        caller.wait_phase("listening", _GREETING_S)
        caller.page.fill("#message", f"Say hello to {canary}.")
        caller.page.keyboard.press("Enter")
        owner.until(lambda: canary in owner.text("#lives"), _ANSWER_S, "the words, live")
        caller.until(lambda: len(caller.lines("agent")) > 1, _ANSWER_S, "an answer")
        owner.until(lambda: owner.text("#lives").count("Assistant") > 1, 10, "the answer, live")
        owner.look("calls-live")

        # The page grows under the reader's hands; what has the keyboard keeps it.
        owner.page.focus(".live button.danger")
        lasted = owner.text(".live .number")
        owner.until(lambda: owner.text(".live .number") != lasted, 10, "another second")
        assert owner.page.evaluate("document.activeElement.id").startswith("end-")

        _press(owner, ".live button.danger", "End the call")
        caller.wait_phase("ended", 10)
        caller.until(lambda: "owner of the box ended" in caller.text("main"), 10, "who ended it")
        owner.until(lambda: "Nobody is in a call" in owner.text("#lives"), 10, "an empty house")

        owner.go(f"/calls?q={canary.upper()}")
        assert owner.page.locator("mark").first.inner_text() == canary
        owner.look("calls")
        owner.page.locator("tbody a").first.click()
        owner.until(lambda: owner.page.locator(".bubble").count() >= 3, 10, "the talk")
        assert "the owner ended the call" in owner.text("#call-facts")
        owner.page.check("input[name=thumb][value=up]")
        owner.page.fill("#owner-note", f"{canary} was kind")
        owner.page.click(".judge button")
        owner.until(lambda: "Kept." in owner.text("#judgement"), 5, "the feedback")
        with owner.page.expect_download() as taken:
            owner.page.click("a[href$='format=srt']")
        taken.value.save_as(tmp_path / "call.srt")
        assert canary in (tmp_path / "call.srt").read_text(encoding="utf-8")

        assert files_with(canary, box.settings.data_dir)
        _press(owner, ".page-head button.danger", "Delete")
        owner.until(lambda: "1 call was deleted" in owner.text("main"), 10, "the deletion")
        # Not in the database, its log, a backup or any program's log, while all of them run.
        assert files_with(canary, box.settings.data_dir) == []

        owner.go(f"/calls/{_spoken(box)}")
        owner.page.locator("summary").last.click()
        owner.until(lambda: owner.page.locator("rect:visible").count() == 5, 5, "five bars")
        owner.look("call")
        owner.go("/calls")
        owner.page.click("button[data-opens=delete-calls]")
        owner.until(lambda: "no such call" in owner.text("#deletion"), 5, "a count")
        owner.look("calls-delete", whole=False)
        owner.assert_clean()
        caller.assert_clean()
