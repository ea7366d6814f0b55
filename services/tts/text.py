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
    "|[\U0000200d\U000020e3\U0000fe00-\U0000fe0f\U000e0000-\U000e007f]"
)
# A look behind has one length, so the quote after a full-width end is a case of its own.
_SENTENCE = re.compile(
    rf"(?<=[{ENDS}])\s+"
    rf"|(?:(?<=[{FULL_ENDS}])|(?<=[{FULL_ENDS}][{CLOSING}]))(?![{FULL_ENDS}{CLOSING}])\s*"
)
_BREAKS = (re.compile(rf"[{PAUSES}\u2013\u2014]\s|[{FULL_PAUSES}]"), re.compile(r"\s"))


def speakable(text: str) -> str:
    """The text as it can be spoken; empty if it holds no letter and no digit."""
    plain = "".join(
        " " if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Co", "Cn") else sign
        for sign in _SILENT.sub(" ", text)
    )
    if not any(unicodedata.category(sign)[0] in "LN" for sign in plain):
        return ""
    return " ".join(plain.split())


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
