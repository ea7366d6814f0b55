"""A model folder is looked at before the library is; nothing is begun for who has left."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.errors import NotFound
from services.stt.turnstile import Turnstile
from services.stt.whisper import Whisper
from tests.waiting import until

pytestmark = pytest.mark.unit

WAIT_S = 30.0


@pytest.mark.parametrize("missing", ["model.bin", "config.json", "tokenizer.json"])
def test_a_folder_that_lacks_a_file_is_refused_at_once(tmp_path: Path, missing: str) -> None:
    for name in {"model.bin", "config.json", "tokenizer.json"} - {missing}:
        (tmp_path / name).write_bytes(b"{}")
    loaded = "faster_whisper" in sys.modules
    with pytest.raises(NotFound, match=missing) as caught:
        Whisper(tmp_path, device="cpu", compute_type="int8", threads=1)
    assert caught.value.code == "model_incomplete"
    assert ("faster_whisper" in sys.modules) is loaded


@pytest.fixture
def begun() -> list[str]:
    """What of the model's work was begun."""
    return []


@pytest.fixture
def whisper(begun: list[str], monkeypatch: pytest.MonkeyPatch) -> Whisper:
    """One without a model, whose work says that it was begun."""

    def work(name: str) -> Callable[..., Any]:
        return lambda *_what: begun.append(name)

    model = SimpleNamespace(is_multilingual=True, detect_language=work("language"))
    made = Whisper.__new__(Whisper)
    made._model = SimpleNamespace(model=model, find_alignment=work("words"))
    made._turnstile = Turnstile()
    monkeypatch.setattr(made, "_tokenizer", lambda *_which: None)
    return made


@pytest.mark.parametrize("step", ["language", "words"])
def test_what_was_stopped_while_it_waited_is_not_begun(
    whisper: Whisper, begun: list[str], step: str
) -> None:
    request = whisper.request(0, threading.Event())
    answer: Any = SimpleNamespace(language="en", tokens=(1,), encoded=None)
    window: Any = None
    got: list[object] = []

    def ask() -> None:
        got.append(
            whisper._language(None, request) if step == "language"
            else whisper._words(answer, "transcribe", 100, window, request)
        )  # fmt: skip

    asking = threading.Thread(target=ask)
    with whisper._turnstile.turn(whisper.request(0, threading.Event())):
        asking.start()
        until(lambda: len(whisper._turnstile._waiting) == 1)
        request.stop.set()
    asking.join(WAIT_S)
    assert not asking.is_alive()
    assert (got, begun) == ([None], [])
