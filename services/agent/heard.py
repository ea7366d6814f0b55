"""Which words of a text were heard, by how much of its sound was played."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.sentences import CLOSING, ENDS, FULL_ENDS, FULL_PAUSES, PAUSES, UNSPACED

# Letters of speech in a second; used only until a piece's sound is complete.
_LETTERS_PER_S = 15.0
# A Chinese character or a kana counts as a word, with the signs that follow it.
_WORD = re.compile(rf"[{UNSPACED}][^\w\s]*\s*|[^\s{UNSPACED}]+\s*")
_ENDS_SENTENCE = re.compile(rf"[{ENDS}{FULL_ENDS}]+[{CLOSING}]*\s*$")
_PAUSES = re.compile(rf"[{PAUSES}{FULL_PAUSES}\u2013\u2014][{CLOSING}]*\s*$")
# Pauses and gaps in the length of a letter.
_GAP = 1.0
_COMMA = 3.0
_STOP = 5.0


@dataclass(frozen=True)
class Piece:
    """Text that was spoken in one go, and its place in the sound, in seconds.

    Attributes:
        to_s: where its sound ends; None while it is being made.
    """

    text: str
    from_s: float
    to_s: float | None


def heard_of(pieces: Sequence[Piece], position_s: float) -> str | None:
    """The text up to ``position_s``; None if no text is known for the sound."""
    if not pieces:
        return None
    said = ""
    for piece in pieces:
        if piece.to_s is not None and piece.to_s <= position_s:
            said += piece.text
            continue
        said += _begun(piece, position_s)
        break
    return said.rstrip()


def sentence_end_after(
    pieces: Sequence[Piece], position_s: float, end_s: float | None
) -> float | None:
    """Where the sentence at ``position_s`` ends, in seconds; None while it cannot be said.

    Args:
        pieces: what is spoken.
        position_s: in the sound.
        end_s: where the whole sound ends; None while it is being made.
    """
    for piece in pieces:
        if piece.to_s is None or piece.to_s <= position_s:
            continue
        if _ENDS_SENTENCE.search(piece.text):
            return piece.to_s
    return end_s


def _begun(piece: Piece, position_s: float) -> str:
    """The words of a piece more than half of which was played."""
    words = _WORD.findall(piece.text)
    weights = [_weight(word) for word in words]
    total_s = (
        piece.to_s - piece.from_s
        if piece.to_s is not None
        else max(sum(weights) / _LETTERS_PER_S, position_s - piece.from_s)
    )
    played = (position_s - piece.from_s) / total_s * sum(weights) if total_s > 0 else 0.0
    said, at = piece.text[: len(piece.text) - len(piece.text.lstrip())], 0.0
    for word, weight in zip(words, weights, strict=True):
        if at + _letters(word) / 2 > played:
            break
        said += word
        at += weight
    return said if said.strip() else ""


def _letters(word: str) -> float:
    return float(max(1, sum(sign.isalnum() for sign in word)))


def _weight(word: str) -> float:
    pause = _STOP if _ENDS_SENTENCE.search(word) else _COMMA if _PAUSES.search(word) else 0.0
    return _letters(word) + _GAP + pause
