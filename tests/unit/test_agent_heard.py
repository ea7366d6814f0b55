"""Which words of a cut answer were heard, and where its sentences end."""

from __future__ import annotations

import itertools

import pytest

from services.agent.heard import Piece, heard_of, sentence_end_after

pytestmark = pytest.mark.unit

ANSWER = [
    Piece("The capital of Italy is Rome. ", 0.0, 2.0),
    Piece("It lies on the river Tiber. ", 2.0, 4.0),
    Piece("It is old.", 4.0, None),
]


@pytest.mark.parametrize(
    ("position_s", "heard"),
    [
        (0.0, ""),
        (0.05, ""),
        (2.0, "The capital of Italy is Rome."),
        (1.98, "The capital of Italy is Rome."),
        (4.0, "The capital of Italy is Rome. It lies on the river Tiber."),
    ],
)
def test_whole_sentences(position_s: float, heard: str) -> None:
    assert heard_of(ANSWER, position_s) == heard


def test_words_come_one_after_another() -> None:
    said = [heard_of(ANSWER, at / 50) or "" for at in range(101)]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(said))
    counts = [len(words.split()) for words in said]
    assert counts[0] == 0
    assert counts[-1] == 6
    assert max(b - a for a, b in itertools.pairwise(counts)) == 1
    # Half of the sound is about half of the letters.
    assert said[50] in ("The capital of", "The capital of Italy")


def test_a_sentence_that_is_still_being_made_is_guessed_by_its_letters() -> None:
    assert heard_of(ANSWER, 4.3) == (
        "The capital of Italy is Rome. It lies on the river Tiber. It is"
    )


def test_sound_without_text_has_no_words() -> None:
    assert heard_of([], 1.0) is None
    assert heard_of([Piece("  ", 0.0, 1.0)], 0.5) == ""


def test_a_clause_is_no_sentence() -> None:
    pieces = [Piece("Well, of course, ", 0.0, 1.0), Piece("it is Rome.\u201d ", 1.0, 2.0)]
    assert sentence_end_after(pieces, 0.2, 2.0) == 2.0
    assert sentence_end_after(pieces, 1.2, None) == 2.0


def test_an_end_that_is_not_made_yet_is_not_known() -> None:
    assert sentence_end_after(ANSWER, 0.5, None) == 2.0
    assert sentence_end_after(ANSWER, 4.2, None) is None
    assert sentence_end_after(ANSWER, 4.2, 5.5) == 5.5
    assert sentence_end_after([], 0.0, None) is None


@pytest.mark.parametrize(
    "sentence",
    ["今天天气很好，我们走吧。", "今日はいい天気です！」", "आज मौसम अच्छा है।", "ماذا؟"],
)
def test_sentences_end_in_every_script(sentence: str) -> None:
    pieces = [Piece("Well, ", 0.0, 1.0), Piece(sentence, 1.0, 2.0), Piece("Next.", 2.0, 3.0)]
    assert sentence_end_after(pieces, 0.2, 3.0) == 2.0


@pytest.mark.parametrize(
    ("text", "half"),
    [
        ("今天天气很好我们去公园走走", "今天天气很好"),
        ("今日はいい天気なので公園に行く", "今日はいい天気"),
        ("आज मौसम अच्छा और साफ", "आज मौसम"),
    ],
)
def test_half_of_the_sound_is_about_half_of_the_words(text: str, half: str) -> None:
    heard = heard_of([Piece(text, 0.0, 2.0)], 1.0)
    assert heard is not None
    assert heard.startswith(half)
    assert len(heard) <= len(text) * 2 // 3
