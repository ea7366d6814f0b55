"""Cuts the model's words for the voice: the first clause at once, then whole sentences."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

from livekit.agents.tokenize import SentenceStream, SentenceTokenizer, TokenData, blingfire

from appliance.sentences import CLOSING, ENDS, FULL_ENDS, FULL_PAUSES, PAUSES, letters

# About a second of speech: shorter, and the sound runs dry before the next sentence is made.
_LEAST_CLAUSE = 16
# Speech has about this many letters a second, a sentence about that many in all.
_SPOKEN_PER_S = 15.0
_SENTENCE = 50
_LEAST_SENTENCE = 10
_CLAUSE_END = re.compile(rf"[{PAUSES}](?=\s)|[{FULL_PAUSES}]|\s[\u2013\u2014](?=\s)")
# A dot after a digit or a single capital may be "3.5" or "J. S. Bach"; wait for what follows.
_SENTENCE_END = re.compile(
    rf"(?<![0-9])(?<!\b[A-Z])[{ENDS}]+[{CLOSING}]*(?=\s|$)|[{ENDS}](?=\s)"
    rf"|[{FULL_ENDS}]+[{CLOSING}]*"
)
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|No|e\.g|i\.e)\.$", re.IGNORECASE)


def first_clause_end(text: str, least: float = _LEAST_CLAUSE) -> int | None:
    """Where the first clause of ``text`` ends, or None while it cannot be said yet.

    Args:
        text: the model's first words.
        least: letters that a clause must have which is not a whole sentence.
    """
    for found in sorted(
        [*_SENTENCE_END.finditer(text), *_CLAUSE_END.finditer(text)], key=lambda m: m.end()
    ):
        end = found.end()
        said = text[:end].strip()
        if found.re is _SENTENCE_END:
            if letters(said) >= _LEAST_SENTENCE and not _ABBREVIATION.search(said):
                return end
        elif letters(said) >= least:
            return end
    return None


def least_clause(written: int, took_s: float) -> float:
    """Letters a first clause must have, so that its sound lasts until the next sentence is there.

    Args:
        written: letters the model has written.
        took_s: how long it took from the first of them to the last, in seconds.
    """
    if not written or took_s <= 0:
        return _LEAST_CLAUSE
    next_sentence_s = _SENTENCE * took_s / written
    return max(_LEAST_CLAUSE, _SPOKEN_PER_S * next_sentence_s)


class ClauseTokenizer(SentenceTokenizer):
    """A sentence tokenizer whose first piece may be a clause.

    Args:
        clock: seconds; tells how quickly the model writes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sentences = blingfire.SentenceTokenizer(retain_format=True)

    def tokenize(self, text: str, *, language: str | None = None) -> list[str]:
        """Whole sentences: nothing is waiting when all the text is there."""
        return self._sentences.tokenize(text, language=language)

    def stream(self, *, language: str | None = None) -> SentenceStream:
        """A stream that gives the first clause as soon as it is complete."""
        return _ClauseStream(self._sentences.stream(language=language), self._clock)


class _ClauseStream(SentenceStream):
    def __init__(self, sentences: SentenceStream, clock: Callable[[], float]) -> None:
        super().__init__()
        self._sentences = sentences
        self._clock = clock
        self._began: float | None = None
        self._before = 0
        self._head: str | None = ""
        self._pump_task = asyncio.create_task(self._pump(), name="clauses.pump")

    def push_text(self, text: str) -> None:
        """Take the next words of the model."""
        if self._head is None:
            self._sentences.push_text(text)
            return
        if self._began is None:
            # What comes with the first words took no time that is known.
            self._began, self._before = self._clock(), letters(text)
        self._head += text
        least = least_clause(letters(self._head) - self._before, self._clock() - self._began)
        end = first_clause_end(self._head, least)
        if end is None:
            return
        clause, rest = self._head[:end], self._head[end:]
        self._head = None
        self._event_ch.send_nowait(TokenData(token=clause))
        if rest:
            self._sentences.push_text(rest)

    def flush(self) -> None:
        """Give out what there is."""
        self._hand_over()
        self._sentences.flush()

    def end_input(self) -> None:
        """There are no more words."""
        self._hand_over()
        self._sentences.end_input()

    async def aclose(self) -> None:
        """Stop, whatever is left unsaid."""
        await self._sentences.aclose()
        self._pump_task.cancel()
        await asyncio.gather(self._pump_task, return_exceptions=True)

    def _hand_over(self) -> None:
        if self._head:
            self._sentences.push_text(self._head)
        self._head = None

    async def _pump(self) -> None:
        async for sentence in self._sentences:
            self._event_ch.send_nowait(sentence)
        self._do_close()
