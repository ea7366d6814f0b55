"""The owner changes models on the page while somebody talks; files are fetched in vain and uploaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.catalogue import Catalogue
from tests import ggufs
from tests.box import Box
from tests.browser.chromium import Visit, visit

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

_SWITCH_S = 180


def _press(visited: Visit, model: str, label: str) -> None:
    """Press a button in a model's row and say yes."""
    # A dot in an id would be a class in a selector.
    visited.page.click(f'[id="model-{model}"] button:text-is("{label}")')
    visited.page.click("#confirm-yes")


def _outcome(visited: Visit, title: str) -> None:
    visited.until(lambda: visited.text("#switch-title") == title, _SWITCH_S, title)


def _asked_in_writing(visited: Visit, question: str) -> str:
    before = len(visited.lines("agent"))
    visited.page.fill("#message", question)
    visited.page.keyboard.press("Enter")
    visited.until(lambda: len(visited.lines("agent")) > before, 90, "an answer")
    return visited.lines("agent")[before]


def test_models_change_under_a_live_call_and_a_broken_one_is_rolled_back(
    box: Box, tmp_path: Path
) -> None:
    owner = box.sign_in()
    good = Catalogue(box.settings).installed("llm", "smollm2-135m-instruct").files["model"]
    noise = ggufs.scrambled(good, tmp_path / "broken one.gguf")
    with (
        visit(box.url, path="/models", cookies=owner) as models,
        visit(box.url, path="/talk", cookies=owner, microphone="denied", width=390) as talk,
    ):
        models.until(lambda: models.page.locator("#bars figure").count(), 10, "the memory bar")
        models.look("models")
        talk.page.click("#start")
        talk.until(lambda: talk.lines("agent"), 40, "the greeting")

        _press(models, "whisper-tiny.en", "Use")
        talk.until(lambda: "being changed" in talk.text("#call-notices"), 60, "the notice")
        talk.shot("models-notice")
        _outcome(models, "Changed to whisper-tiny.en")
        assert "paris" in _asked_in_writing(talk, "What is the capital of France?").lower()

        models.page.set_input_files("#upload-files", noise)
        assert models.page.input_value("#upload-name") == "broken-one"
        models.page.click("#upload-go")
        models.until(lambda: "is here" in models.text("#upload-said"), 60, "the upload")
        fits = models.page.locator('[id="model-broken-one"] .badge.good:text-is("fits")')
        models.until(fits.count, 30, "the uploaded model in the list")
        _press(models, "broken-one", "Use")
        _outcome(models, "Not changed to broken-one")
        models.until(
            lambda: "smollm2-135m-instruct serves" in models.text("#switch"),
            _SWITCH_S,
            "the way back",
        )
        models.look("models-rolled-back")
        assert _asked_in_writing(talk, "What is the capital of Italy?")

        _press(models, "whisper-base", "Use")
        _outcome(models, "Changed to whisper-base")
        _press(models, "broken-one", "Delete")
        models.until(
            lambda: not models.page.locator('[id="model-broken-one"]').count(), 20, "it is gone"
        )
        talk.page.click("#end")
        models.assert_clean()


def test_the_bar_moves_and_files_are_checked(box: Box) -> None:
    with visit(box.url, path="/models", cookies=box.sign_in()) as visited:
        page = visited.page
        visited.until(lambda: page.locator("#bars figure").count(), 10, "the memory bar")

        def kv() -> float:
            return float(page.locator("#bars .part-llm_kv").first.get_attribute("width") or 0)

        before = kv()
        page.focus("#context")
        page.keyboard.press("End")
        assert visited.text("#context-said") == "8192"
        assert kv() > 1.5 * before
        assert page.is_enabled("#use-context")
        page.click('[id="model-en_US-joe-medium"] button:text-is("Check files")')
        visited.until(
            lambda: "digest that it should" in visited.text('[id="model-en_US-joe-medium"]'),
            60, "the files' check",
        )  # fmt: skip
        page.click("#away-tts summary")
        page.click('[id="model-en_US-lessac-medium"] button:text-is("Accept")')
        visited.until(lambda: "Blizzard" in visited.text("#confirm"), 5, "the licence")
        page.click("#confirm-yes")
        fetch = page.locator('[id="model-en_US-lessac-medium"] button:text-is("Fetch")')
        visited.until(fetch.count, 20, "a button to fetch it")
        visited.assert_clean()
