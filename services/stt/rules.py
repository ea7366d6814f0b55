"""How much to let Whisper hear and say, and when not to believe it."""

from __future__ import annotations

import math
import zlib

FULL_FRAMES = 3000
"""A mel of 30 s, which Whisper was trained on; 100 frames are one second."""
_FLOOR_FRAMES = 800
_MARGIN_FRAMES = 200
CONTEXT_TOKENS = 448
"""Prompt, answer and end mark together: Whisper's decoder has no further positions."""

REPETITIVE = 2.4
"""Text that zlib shrinks more than this is a loop."""
_ZLIB_FRAME = 6
"""Bytes that zlib puts around everything: its header and checksum."""
_LAST_LATIN = "\u024f"
_FASTEST_PACE = 7.0
VOICED_S = 0.2
"""Less voice than this is not speech."""

SURE_LANGUAGE = 0.7
"""A language that is less probable than this is not remembered."""
OTHER_LANGUAGE = -0.7
"""Mean log probability of a token below which the words may be in another language than thought."""

# What Whisper says when there is nothing to say; believed only if it is sure of it.
_EMPTY_PHRASES = frozenset({"", "you", "thank you", "thanks for watching"})


def frames_for(heard: int) -> int:
    """Mel frames to pad ``heard`` frames to.

    Below 8 s, or with less than 2 s of silence after the words, Whisper loops; 30 s costs five times as much.
    """
    return min(FULL_FRAMES, max(_FLOOR_FRAMES, math.ceil((heard + _MARGIN_FRAMES) / 100) * 100))


def token_cap(heard: int, frames: int) -> int:
    """Most tokens to write for ``heard`` mel frames of speech, padded to ``frames``.

    In a short mel, reaching it means a loop, or a language in which nearly every letter is a token: Hindi
    has 14 in a second. What comes of 30 s is not made again, so that it has room for those.
    """
    seconds = math.ceil(heard / 100)
    return 8 * seconds + 24 if frames < FULL_FRAMES else max(224, 24 * seconds)


def compression_ratio(text: str) -> float:
    """How many times zlib shrinks the text; 0 for an empty one."""
    # One byte a letter: in UTF-8 all those of Hindi or Thai begin with the same one or two, and
    # half a minute of any speech would be a loop. The low byte tells the letters of a script apart.
    raw = bytes(ord(letter) & 0xFF for letter in text)
    if not raw:
        return 0.0
    return len(raw) / (len(zlib.compress(raw)) - (0 if _is_latin(text) else _ZLIB_FRAME))


def _is_latin(text: str) -> bool:
    # Other scripts say in 24 letters what takes 60 in English, and a loop of so few would drown in
    # the frame. The limit was found on English, of which the frame is a part.
    return sum(letter > _LAST_LATIN for letter in text) * 2 <= len(text)


def is_invented(
    text: str, *, avg_logprob: float, no_speech_prob: float, ratio: float, pace: float
) -> bool:
    """Whether greedy text was made up from noise, or is a loop.

    The limits separate 27 spoken clips from 21 without speech, on base and tiny.en.

    Args:
        text: what Whisper wrote.
        avg_logprob: mean log probability of a token.
        no_speech_prob: the model's own doubt that this is speech, 0 to 1.
        ratio: how many times zlib shrinks the text.
        pace: tokens per second of voice.
    """
    if is_loop(ratio, pace):
        return True
    if avg_logprob < -1.0 or (no_speech_prob > 0.6 and avg_logprob < -0.8):
        return True
    return avg_logprob < -0.7 and text.strip(" .,!?-…").lower() in _EMPTY_PHRASES


def is_loop(ratio: float, pace: float) -> bool:
    """Whether a repetitive text was not really said: people repeat themselves too, but not this fast."""
    return ratio > REPETITIVE and pace > _FASTEST_PACE
