"""What of a text is spoken, and in which pieces."""

from __future__ import annotations

import pytest

from services.tts.text import LONGEST_PIECE, pieces, speakable

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Hello 😀 there", "Hello there"),
        ("50% of €5 at 20 °C", "50% of €5 at 20 °C"),
        ("[[hh]] hi", "hh hi"),
        ("a\x00b\u200bc\nd", "a b c d"),
        ("half \ud83d", "half"),
        # A soft hyphen, marks of direction, a word joiner and a byte order mark part no words.
        ("Auto\u00adbahn", "Autobahn"),
        ("\ufeff\u200eyes\u2060, \u2067no\u2069", "yes, no"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("ක්\u200dෂ", "ක්\u200dෂ"),
        ("a\u200d😀\u200d b\u200c", "a b"),
        ("👩\u200d🚀 up", "up"),
        ("[\u00ad[hh]\u200d] hi", "hh hi"),
        ("?! …", ""),
        ("🇫🇷👍🏽", ""),
        ("", ""),
    ],
)
def test_speakable(text: str, spoken: str) -> None:
    assert speakable(text) == spoken


def test_sentences_are_pieces() -> None:
    assert list(pieces("One. Two! Three? Four")) == ["One.", "Two!", "Three?", "Four"]
    assert list(pieces("")) == []


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("今天很好。“真的吗？！”是的；走吧", ["今天很好。", "“真的吗？！”", "是的；", "走吧"]),
        ("いい天気です。「本当？」はい。", ["いい天気です。", "「本当？」", "はい。"]),
        ("मौसम अच्छा है। चलें? हाँ।", ["मौसम अच्छा है।", "चलें?", "हाँ।"]),
        ("هل ستأتي؟ نعم.", ["هل ستأتي؟", "نعم."]),
    ],
)
def test_sentences_of_other_scripts_are_pieces(text: str, sentences: list[str]) -> None:
    assert list(pieces(text)) == sentences


def test_a_long_chinese_sentence_breaks_at_a_comma() -> None:
    parts = list(pieces("这个城市有很长的历史，" * 60))
    assert len(parts) > 1
    assert {part[-1] for part in parts} == {"，"}


@pytest.mark.parametrize("word", ["word ", "word, ", "a"])
def test_no_piece_is_endless_and_no_word_is_lost(word: str) -> None:
    text = (word * 1000).strip()
    parts = list(pieces(text))
    assert max(map(len, parts)) <= LONGEST_PIECE
    assert "".join(parts).replace(" ", "") == text.replace(" ", "")
