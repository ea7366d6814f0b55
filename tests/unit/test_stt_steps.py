"""The steps of one window, with a model that only takes notes."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from services.stt.rooms import Rooms
from services.stt.rules import CONTEXT_TOKENS, FULL_FRAMES
from services.stt.steps import Steps
from services.stt.turnstile import Turnstile
from services.stt.vocabulary import RATE_HZ, Manner, Passage, Span, Window
from services.stt.whisper import Whisper

pytestmark = pytest.mark.unit

CAP = 56
"""Most tokens for a first look at WINDOW, of three seconds and a frame."""
LONG = Window(0.0, np.zeros(28 * RATE_HZ, np.float32), (Span(RATE_HZ, 27 * RATE_HZ),))
WINDOW = Window(10.0, np.zeros(3 * RATE_HZ, np.float32), (Span(RATE_HZ, 2 * RATE_HZ),))
ENGLISH = Manner(language="en")
_EOT = 50_000
_CHINESE = 0x4E00
DENSE = random.Random(1).choices(range(_CHINESE, 0x9FFF), k=500)
"""Tokens that are no loop."""


class NotingModel:
    """Encodes to the number of frames and answers what it is told to, by number of frames."""

    is_multilingual = True
    device = "cpu"
    compute_type = "int8"

    def __init__(self, answers: dict[int, list[int]]) -> None:
        self.answers = answers
        self.steps: list[str] = []
        self.on_encode: Callable[[], None] = lambda: None
        self.spoken = ("<|de|>", 0.9)
        self.scores: dict[str, float] = {}
        self.model = self

    def feature_extractor(self, samples: Any) -> Any:
        return np.zeros((80, samples.size // 160 + 1), np.float32)

    def encode(self, features: Any, *, to_cpu: bool) -> Any:
        frames = np.asarray(features).shape[-1]
        assert not to_cpu
        self.steps.append(f"encode {frames}")
        self.on_encode()
        return frames

    def detect_language(self, _encoded: int) -> Any:
        self.steps.append("language")
        return [[self.spoken]]

    def get_prompt(self, tokenizer: Any, before: Any, *, without_timestamps: bool) -> list[Any]:
        assert without_timestamps
        return [*before, 1, 2, 3, tokenizer.language]

    def generate(self, encoded: int, prompts: Any, *, max_length: int, **how: Any) -> Any:
        assert how["beam_size"] == 1
        language = prompts[0][-1]
        self.steps.append(f"generate {encoded} {language}")
        before = len(prompts[0]) - 1
        # CTranslate2's rule.
        tokens = self.answers[encoded][: min(max_length // 2, max_length - before)]
        assert before + len(tokens) <= CONTEXT_TOKENS
        score = self.scores.get(language, -0.2)
        return [SimpleNamespace(sequences_ids=[tokens], scores=[score], no_speech_prob=0.01)]


class Letters:
    """A tokenizer in which a token is a word of its own number, or a Chinese letter."""

    eot = _EOT

    def __init__(self, language: str) -> None:
        self.language = language

    def encode(self, text: str) -> list[int]:
        return [len(word) for word in text.split()]

    def decode(self, tokens: list[int]) -> str:
        return " ".join(chr(token) if token >= _CHINESE else str(token) for token in tokens)


@pytest.fixture
def whisper(monkeypatch: pytest.MonkeyPatch) -> Whisper:
    made = Whisper.__new__(Whisper)
    made._turnstile = Turnstile()
    made._rooms = Rooms()
    made._model = NotingModel({800: [5, 17, 230], FULL_FRAMES: [5, 17, 231]})
    made.steps = Steps(made._model, made._turnstile)
    monkeypatch.setattr(made, "_tokenizer", lambda _task, language: Letters(language))
    return made


def hear(
    whisper: Whisper, manner: Manner = ENGLISH, room: str = "", window: Window = WINDOW
) -> Passage:
    passage = whisper.recognise(window, manner, whisper.request(0, threading.Event()), room)
    assert passage is not None
    return passage


def steps_of(whisper: Whisper) -> list[str]:
    """The steps since they were last asked for."""
    steps = list(whisper._model.steps)
    whisper._model.steps.clear()
    return steps


def test_a_short_window_is_heard_once_in_a_short_mel(whisper: Whisper) -> None:
    passage = hear(whisper)
    assert (passage.text, passage.start_s, passage.end_s) == ("5 17 230", 11.0, 12.0)
    assert steps_of(whisper) == ["encode 800", "generate 800 en"]


def test_an_unknown_language_is_recognised_from_the_same_encoding(whisper: Whisper) -> None:
    assert hear(whisper, Manner()).language == "de"
    assert steps_of(whisper) == ["encode 800", "language", "generate 800 de"]


def test_a_rooms_language_is_recognised_once(whisper: Whisper) -> None:
    assert hear(whisper, Manner(), "kitchen").language == "de"
    assert steps_of(whisper) == ["encode 800", "language", "generate 800 de"]
    assert hear(whisper, Manner(), "kitchen").language == "de"
    assert steps_of(whisper) == ["encode 800", "generate 800 de"]
    hear(whisper, Manner(), "hall")
    assert steps_of(whisper) == ["encode 800", "language", "generate 800 de"]
    assert hear(whisper, ENGLISH, "kitchen").language == "en"
    assert steps_of(whisper) == ["encode 800", "generate 800 en"]


def test_a_language_that_is_not_certain_is_recognised_again(whisper: Whisper) -> None:
    whisper._model.spoken = ("<|cy|>", 0.4)
    hear(whisper, Manner(), "kitchen")
    whisper._model.spoken = ("<|en|>", 0.9)
    assert hear(whisper, Manner(), "kitchen").language == "en"


def test_words_that_are_hardly_believed_teach_no_language(whisper: Whisper) -> None:
    whisper._model.scores = {"de": -2.0}
    hear(whisper, Manner(), "kitchen")
    whisper._model.spoken = ("<|en|>", 0.9)
    assert hear(whisper, Manner(), "kitchen").language == "en"


def test_a_room_may_go_on_in_another_language(whisper: Whisper) -> None:
    hear(whisper, Manner(), "kitchen")
    steps_of(whisper)
    whisper._model.scores = {"de": -1.2}
    whisper._model.spoken = ("<|en|>", 0.9)
    assert hear(whisper, Manner(), "kitchen").language == "en"
    assert steps_of(whisper) == ["encode 800", "generate 800 de", "language", "generate 800 en"]
    assert hear(whisper, Manner(), "kitchen").language == "en"
    assert steps_of(whisper) == ["encode 800", "generate 800 en"]


def test_an_answer_that_fills_its_cap_is_made_again_from_thirty_seconds(whisper: Whisper) -> None:
    whisper._model.answers[800] = list(range(500))
    assert hear(whisper).text == "5 17 231"
    assert steps_of(whisper) == [
        "encode 800", "generate 800 en", "encode 3000", "generate 3000 en"
    ]  # fmt: skip


def test_dense_speech_below_its_cap_is_heard_whole_at_once(whisper: Whisper) -> None:
    whisper._model.answers[800] = DENSE[: CAP - 1]
    assert hear(whisper).tokens == tuple(DENSE[: CAP - 1])
    assert steps_of(whisper) == ["encode 800", "generate 800 en"]


def test_denser_speech_is_heard_whole_the_second_time(whisper: Whisper) -> None:
    whisper._model.answers = {800: DENSE, FULL_FRAMES: DENSE[:200]}
    assert hear(whisper).tokens == tuple(DENSE[:200])


def test_half_a_minute_of_dense_speech_fills_the_context_and_is_not_made_again(
    whisper: Whisper,
) -> None:
    whisper._model.answers[FULL_FRAMES] = DENSE
    passage = hear(whisper, window=LONG)
    # A prompt of four tokens, and the end mark.
    assert passage.tokens == tuple(DENSE[: CONTEXT_TOKENS - 5])
    assert steps_of(whisper) == ["encode 3000", "generate 3000 en"]


def test_a_long_prompt_leaves_the_rest_of_the_context(whisper: Whisper) -> None:
    whisper._model.answers[FULL_FRAMES] = DENSE
    prompted = Manner(language="en", prompt="word " * 300)
    passage = hear(whisper, prompted, window=LONG)
    assert passage.tokens == tuple(DENSE[: CONTEXT_TOKENS - 205])


def test_a_loop_in_both_mels_is_no_speech(whisper: Whisper) -> None:
    whisper._model.answers = {800: [6] * 500, FULL_FRAMES: [6] * 500}
    assert hear(whisper).text == ""


def test_work_cancelled_while_it_is_encoded_is_not_decoded(whisper: Whisper) -> None:
    stop = threading.Event()
    whisper._model.on_encode = stop.set
    assert whisper.recognise(WINDOW, ENGLISH, whisper.request(0, stop)) is None
    assert steps_of(whisper) == ["encode 800"]


def test_work_cancelled_before_its_turn_never_reaches_the_model(whisper: Whisper) -> None:
    stop = threading.Event()
    stop.set()
    assert whisper.recognise(WINDOW, ENGLISH, whisper.request(0, stop)) is None
    assert steps_of(whisper) == []
