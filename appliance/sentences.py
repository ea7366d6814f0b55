"""Where sentences and clauses end, in the scripts that people talk to the box in.

Each constant is the inside of a character class of ``re``.
"""

from __future__ import annotations

import re

ENDS = r".!?\u2026\u061f\u06d4\u0964\u0965"
"""End a sentence where a space, or nothing, follows: Latin, Arabic, Urdu and Hindi."""
FULL_ENDS = r"\u3002\uff01\uff1f\uff1b\uff61"
"""End a sentence wherever they stand: Chinese and Japanese put no space after them."""
PAUSES = r",;:\u060c\u061b"
"""End a clause where a space follows."""
FULL_PAUSES = r"\u3001\uff0c\uff1a\uff64"
"""End a clause wherever they stand."""
CLOSING = r"\"'\)\]\u2019\u201d\u00bb\u300d\u300f\uff09\u3011\u300b"
"""Quotes and brackets that belong to the sentence before them."""
UNSPACED = r"\u3005-\u3007\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Chinese characters and Japanese kana, whose words have no spaces between them."""

_UNSPACED = re.compile(f"[{UNSPACED}]")


def letters(text: str) -> int:
    """How long a text is to speak, in letters of a Latin script.

    A Chinese character or a kana takes about as long as two of them.
    """
    return len(text) + len(_UNSPACED.findall(text))
