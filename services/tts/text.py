"""Makes a text speakable: no pictures, no control characters, no endless sentences."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from appliance.sentences import CLOSING, ENDS, FULL_ENDS, FULL_PAUSES, PAUSES

# Phonemes and durations of a piece are found in one go; a stop is not seen meanwhile.
LONGEST_PIECE = 300

# Piper reads [[…]] as phonemes; espeak-ng reads an emoji's name aloud.
_SILENT = re.compile(
    "\\[\\[|\\]\\]"
    "|[\U0001f000-\U0001faff\U00002600-\U000027bf\U00002190-\U000021ff\U00002b00-\U00002bff]"
    "|[\U000020e3\U0000fe00-\U0000fe0f\U000e0000-\U000e007f]"
)
# Persian and the scripts of India write words with these in them; elsewhere they join pictures.
_JOINERS = "\u200c\u200d"
_JOINED = re.compile(f"[{_JOINERS}]+")
# The one sign of its kind that parts words: Thai and Khmer have no spaces.
_ZERO_WIDTH_SPACE = "\u200b"
# A look behind has one length, so the quote after a full-width end is a case of its own.
_SENTENCE = re.compile(
    rf"(?<=[{ENDS}])\s+"
    rf"|(?:(?<=[{FULL_ENDS}])|(?<=[{FULL_ENDS}][{CLOSING}]))(?![{FULL_ENDS}{CLOSING}])\s*"
)
_BREAKS = (re.compile(rf"[{PAUSES}\u2013\u2014]\s|[{FULL_PAUSES}]"), re.compile(r"\s"))


def speakable(text: str) -> str:
    """The text as it can be spoken; empty if it holds no letter and no digit."""
    seen = _JOINED.sub(_within_a_word, "".join(map(_seen, text)))
    # Last: two brackets may have had a sign between them that nobody sees.
    plain = _SILENT.sub(" ", seen)
    if not any(unicodedata.category(sign)[0] in "LN" for sign in plain):
        return ""
    return " ".join(plain.split())


def _seen(sign: str) -> str:
    """The sign; a space for a control character; nothing for what only says how a word is set."""
    category = unicodedata.category(sign)
    if category == "Cf" and sign != _ZERO_WIDTH_SPACE:
        return sign if sign in _JOINERS else ""
    return " " if category[0] == "C" else sign


def _within_a_word(joiners: re.Match[str]) -> str:
    """Joiners between two letters or marks; nothing elsewhere."""
    start, end = joiners.span()
    beside = joiners.string[max(0, start - 1) : start] + joiners.string[end : end + 1]
    is_within = len(beside) == 2 and all(unicodedata.category(one)[0] in "LM" for one in beside)
    return joiners[0] if is_within else ""


def pieces(text: str) -> Iterator[str]:
    """Sentences, and parts of those that are too long to be spoken in one go."""
    for sentence in _SENTENCE.split(text):
        rest = sentence
        while len(rest) > LONGEST_PIECE:
            at = _last_break(rest)
            if head := rest[:at].strip():
                yield head
            rest = rest[at:]
        if rest.strip():
            yield rest.strip()


def _last_break(text: str) -> int:
    for pattern in _BREAKS:
        found = [match.end() for match in pattern.finditer(text, 0, LONGEST_PIECE)]
        # A break right at the start would leave a fragment.
        if found and found[-1] > LONGEST_PIECE // 3:
            return found[-1]
    return LONGEST_PIECE
