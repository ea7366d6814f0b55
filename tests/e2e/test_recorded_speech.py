"""Recorded human speech is heard through the whole path, WebRTC included."""

from __future__ import annotations

import pytest

from tests.box import Box
from tests.recordings import DATA, error_rate, speech
from tests.results import note

pytestmark = pytest.mark.e2e


@pytest.mark.timeout(500)
def test_human_speech_is_heard(box: Box) -> None:
    clips = speech()
    files = [DATA / "speech" / clip["file"] for clip in clips]
    # "Seven of clubs" is no question: what counts here is what was heard.
    report = box.call(*files, timeout_s=480, codes=(0, 1))
    heard = [turn["heard"] for turn in report["turns"]]
    wer = error_rate([clip["text"] for clip in clips], heard)
    note("human speech over WebRTC", wer=wer, turns=report["turns"])
    assert wer <= 0.12, heard
