"""The steps of one window, with a model that only takes notes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from services.stt.rules import FULL_FRAMES
from services.stt.turnstile import Turnstile
from services.stt.vocabulary import RATE_HZ, Manner, Span, Window
from services.stt.whisper import Whisper

pytestmark = pytest.mark.unit

WINDOW = Window(10.0, np.zeros(3 * RATE_HZ, np.float32), (Span(RATE_HZ, 2 * RATE_HZ),))
ENGLISH = Manner(language="en")
_EOT = 50_000


class NotingModel:
    """Encodes to the number of frames and answers what it is told to, by number of frames."""

    is_multilingual = True

    def __init__(self, answers: dict[int, list[int]]) -> None:
        self.answers = answers
        self.steps: list[str] = []
        self.on_encode: Callable[[], None] = lambda: None
        self.model = self

    def feature_extractor(self, samples: Any) -> Any:
        return np.zeros((80, samples.size // 160 + 1), np.float32)

    def encode(self, features: Any) -> int:
        self.steps.append(f"encode {features.shape[-1]}")
        self.on_encode()
        return int(features.shape[-1])

    def detect_language(self, _encoded: int) -> Any:
        self.steps.append("language")
        return [[("<|de|>", 0.9)]]

    def get_prompt(self, _tokenizer: Any, _before: Any, *, without_timestamps: bool) -> list[int]:
        assert without_timestamps
        return [1, 2, 3, 4]

    def generate(self, encoded: int, _prompts: Any, *, max_length: int, **how: Any) -> Any:
        assert how["beam_size"] == 1
        self.steps.append(f"generate {encoded}")
        tokens = self.answers[encoded][: max_length - 4]
        return [SimpleNamespace(sequences_ids=[tokens], scores=[-0.2], no_speech_prob=0.01)]


class Letters:
    """A tokenizer in which a token is a word of its own number."""

    eot = _EOT

    def __init__(self, language: str) -> None:
        self.language = language

    def encode(self, text: str) -> list[int]:
        return [len(word) for word in text.split()]

    def decode(self, tokens: list[int]) -> str:
        return " ".join(str(token) for token in tokens)


@pytest.fixture
def whisper(monkeypatch: pytest.MonkeyPatch) -> Whisper:
    made = Whisper.__new__(Whisper)
    made._turnstile = Turnstile()
    made._model = NotingModel({800: [5, 17, 230], FULL_FRAMES: [5, 17, 231]})
    monkeypatch.setattr(made, "_tokenizer", lambda _task, language: Letters(language))
    return made


def test_a_short_window_is_heard_once_in_a_short_mel(whisper: Whisper) -> None:
    passage = whisper.recognise(WINDOW, ENGLISH, 0, threading.Event())
    assert passage is not None
    assert (passage.text, passage.start_s, passage.end_s) == ("5 17 230", 11.0, 12.0)
    assert whisper._model.steps == ["encode 800", "generate 800"]


def test_an_unknown_language_is_recognised_from_the_same_encoding(whisper: Whisper) -> None:
    passage = whisper.recognise(WINDOW, Manner(), 0, threading.Event())
    assert passage is not None
    assert passage.language == "de"
    assert whisper._model.steps == ["encode 800", "language", "generate 800"]


def test_an_answer_that_fills_its_cap_is_made_again_from_thirty_seconds(whisper: Whisper) -> None:
    whisper._model.answers[800] = list(range(500))
    passage = whisper.recognise(WINDOW, ENGLISH, 0, threading.Event())
    assert passage is not None
    assert passage.text == "5 17 231"
    assert whisper._model.steps == ["encode 800", "generate 800", "encode 3000", "generate 3000"]


def test_a_loop_in_both_mels_is_no_speech(whisper: Whisper) -> None:
    whisper._model.answers = {800: [6] * 500, FULL_FRAMES: [6] * 500}
    passage = whisper.recognise(WINDOW, ENGLISH, 0, threading.Event())
    assert passage is not None
    assert passage.text == ""


def test_work_cancelled_while_it_is_encoded_is_not_decoded(whisper: Whisper) -> None:
    stop = threading.Event()
    whisper._model.on_encode = stop.set
    assert whisper.recognise(WINDOW, ENGLISH, 0, stop) is None
    assert whisper._model.steps == ["encode 800"]


def test_work_cancelled_before_its_turn_never_reaches_the_model(whisper: Whisper) -> None:
    stop = threading.Event()
    stop.set()
    assert whisper.recognise(WINDOW, ENGLISH, 0, stop) is None
    assert whisper._model.steps == []
