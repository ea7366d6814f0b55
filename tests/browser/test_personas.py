"""The owner makes a persona of their own: hears it, tries it by text, saves it, and calls it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Dialog

from tests.box import Box
from tests.browser.chromium import visit

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

ANSWER = '#trial-lines li[data-role="assistant"]'


def test_a_persona_is_made_heard_tried_and_saved(box: Box) -> None:
    with visit(box.url, path="/personas", cookies=box.sign_in()) as visited:
        page = visited.page
        visited.look("personas")
        page.click('button:text-is("New persona")')
        page.fill("#new-name", "front-desk")
        page.click('#new button:text-is("Create")')
        page.wait_for_url("**/personas/front-desk")
        visited.look("persona")

        page.fill("#p-greeting", "Front desk, good morning.")
        page.click("#listen")
        length = "document.getElementById('heard').duration"
        visited.until(lambda: (page.evaluate(length) or 0) > 0.5, 60, "the greeting as sound")

        page.click('button:text-is("Begin again")')
        assert "Front desk" in visited.text(ANSWER)
        page.fill("#trial-text", "What do bees make?")
        page.keyboard.press("Enter")
        visited.until(lambda: "honey" in visited.text("#trial-lines"), 60, "an answer by text")

        # Nothing was saved by trying it; leaving now would lose the greeting.
        asked: list[str] = []

        def stay(dialog: Dialog) -> None:
            asked.append(dialog.type)
            dialog.dismiss()

        page.once("dialog", stay)
        page.click('a:text-is("All personas")')
        visited.until(lambda: asked, 15, "the question before leaving")
        assert asked == ["beforeunload"]
        assert page.url.endswith("/personas/front-desk")
        page.locator("[data-saves]").first.click()
        visited.until(lambda: page.locator(".notice.good").count(), 15, "saved")

        page.click('a:text-is("All personas")')
        page.wait_for_url("**/personas")
        page.click('[data-removes="front-desk"]')
        visited.shot("persona-delete")
        page.click("#confirm-yes")
        visited.until(
            lambda: not page.locator('[data-persona="front-desk"]').count(), 15, "the deletion"
        )
        visited.assert_clean()
