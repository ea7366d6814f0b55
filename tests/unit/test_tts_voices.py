"""Which voices are in memory, and who waits while one is loaded."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.tts.cores import Cores
from services.tts.voice import Voice
from services.tts.voices import Voices
from tests.panel_app import box_settings

pytestmark = pytest.mark.unit

WAIT_S = 30.0


class Shelf(Voices):
    """Voices without files; one that is slow loads when it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(box_settings(folder))
        self.loads: list[str] = []
        self.begun, self.may_load = threading.Event(), threading.Event()

    def _load(self, voice_id: str) -> Voice:
        self.loads.append(voice_id)
        if voice_id == "slow":
            self.begun.set()
            assert self.may_load.wait(WAIT_S)
        voice = Voice.__new__(Voice)
        voice.id, voice._cores = voice_id, Cores(1)
        return voice


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_who_speaks_goes_on_while_another_voice_is_loaded(shelf: Shelf) -> None:
    joe = shelf.get("joe")
    with ThreadPoolExecutor(3) as pool:
        slow = [pool.submit(shelf.get, "slow") for _ in range(2)]
        try:
            assert shelf.begun.wait(WAIT_S)
            assert pool.submit(shelf.get, "joe").result(WAIT_S) is joe
            assert not any(asker.done() for asker in slow)
        finally:
            shelf.may_load.set()
    assert slow[0].result() is slow[1].result()
    assert shelf.loads == ["joe", "slow"]


def test_the_last_few_that_were_used_stay(shelf: Shelf) -> None:
    for voice_id in ("a", "b", "c", "a", "d"):
        assert shelf.get(voice_id).id == voice_id
    for voice_id in ("a", "c", "d", "b"):
        shelf.get(voice_id)
    assert shelf.loads == ["a", "b", "c", "d", "b"]
