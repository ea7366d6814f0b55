"""From tokens' bytes to text: whole characters only, no thoughts, and nothing of a stop text."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

# How models begin and end to think: Qwen and many others, Magistral, Gemma 4, gpt-oss.
_THOUGHTS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<|channel>", "<channel|>"),
    ("<|channel|>", "<|channel|>final<|message|>"),
)
MARKS = frozenset(
    {"<|message|>"} | {begin for begin, _ in _THOUGHTS} | {end for _, end in _THOUGHTS[:-1]}
)
"""Tokens that are looked for here; some vocabularies call them control tokens, which spell nothing."""
BEGINNINGS = tuple(begin for begin, _ in _THOUGHTS)
"""With these a thought begins."""


class Answer:
    """Collects an answer's bytes and gives out what is certain to be part of it."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._held = ""
        self._thought: str | None = ""
        self.stopped = False

    @property
    def is_thinking(self) -> bool:
        """Whether a thought has begun that has not ended."""
        return self._thought is not None and self._thought.lstrip().startswith(BEGINNINGS)

    def push(self, piece: bytes) -> str:
        """Text that may be sent after this piece; sets ``stopped`` when a stop text is found."""
        return self._release(self._spoken(self._decode(piece)))

    def flush(self) -> str:
        """What was held back, at the answer's end."""
        rest = self._spoken(self._decode(b"", final=True))
        if self._thought and not self._thought.lstrip().startswith(BEGINNINGS):
            rest, self._thought = self._thought + rest, None
        text = self._release(rest)
        text, self._held = text + self._held, ""
        return text

    def _spoken(self, text: str) -> str:
        """The text without a thought at the answer's beginning, which is nobody's to hear."""
        if self._thought is None:
            return text
        self._thought += text
        begun = self._thought.lstrip()
        if any(begin.startswith(begun) and begun != begin for begin in BEGINNINGS):
            return ""
        end = next((end for begin, end in _THOUGHTS if begun.startswith(begin)), None)
        if end is None:
            text, self._thought = self._thought, None
            return text
        if end not in begun:
            return ""
        self._thought = None
        return begun.split(end, 1)[1].lstrip()

    def _release(self, text: str) -> str:
        if self.stopped:
            return ""
        self._held += text
        found = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            text, self._held = self._held[: min(found)], ""
            return text
        keep = max((self._overlap(stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text

    def _overlap(self, stop: str) -> int:
        """How much of the held text's end could be the beginning of this stop text."""
        for length in range(min(len(stop) - 1, len(self._held)), 0, -1):
            if self._held.endswith(stop[:length]):
                return length
        return 0
