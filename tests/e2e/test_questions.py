"""Ten spoken questions are heard, and answered with sense."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.box import Box
from tests.recordings import DATA, error_rate
from tests.results import note

pytestmark = pytest.mark.e2e

ASKED = 10


@pytest.mark.timeout(400)
def test_ten_questions_are_heard_and_answered(box: Box) -> None:
    manifest = json.loads((DATA / "questions" / "manifest.json").read_text())
    questions = [entry for entry in manifest if entry["expected"]]
    assert len(questions) == ASKED
    report = box.call(*[DATA / "questions" / entry["file"] for entry in questions])

    assert report["state"] == "completed"
    turns: list[dict[str, Any]] = report["turns"]
    assert [turn["file"] for turn in turns] == [entry["file"] for entry in questions]
    heard = [turn["heard"] for turn in turns]
    wer = error_rate([entry["text"] for entry in questions], heard)
    right = [
        any(re.search(rf"\b{word}\b", turn["answered"], re.I) for word in entry["expected"])
        for entry, turn in zip(questions, turns, strict=True)
    ]
    note("ten questions", wer=wer, right=sum(right), turns=turns)
    assert all(turn["answered"] and turn["ms"]["at_ear"] is not None for turn in turns)
    assert wer <= 0.10, heard
    assert sum(right) >= 8, [turn["answered"] for turn in turns]
