"""Cuts a recording of any length into windows of speech, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from services.stt.rules import VOICED_S
from services.stt.vocabulary import RATE_HZ, Samples, Span, Window

LONGEST = 28 * RATE_HZ
_LOOK_AHEAD = 30 * RATE_HZ
_EDGE = RATE_HZ // 2
_LONG_SILENCE = 3 * RATE_HZ
_SHORT_GAP = RATE_HZ // 5

FindSpeech = Callable[[Samples], Sequence[Span]]


def windows(blocks: Iterable[Samples], find_speech: FindSpeech) -> Iterator[Window]:
    """Windows of at most 28 s, cut in pauses; stretches without speech are left out.

    A recording of up to 28 s is one window, uncut but for long silence at its ends.
    """
    source = iter(blocks)
    held: Samples = np.zeros(0, np.float32)
    start = 0
    while True:
        held, more = _fill(held, source)
        spans = list(find_speech(held)) if held.size else []
        if not spans:
            if not more:
                return
            # The last half second may hold the beginning of a word.
            start += max(0, held.size - _EDGE)
            held = held[-_EDGE:]
            continue
        lead = spans[0].start - _EDGE
        if lead > _EDGE:
            start += lead
            held = held[lead:]
            if more:
                continue
            spans = [Span(s.start - lead, s.end - lead) for s in spans]
        whole = not more and held.size <= LONGEST
        cut = _trimmed_end(spans, held.size) if whole else find_cut(spans, held)
        inside = tuple(Span(s.start, min(s.end, cut)) for s in spans if s.start < cut)
        if sum(s.end - s.start for s in inside) >= VOICED_S * RATE_HZ:
            yield Window(start / RATE_HZ, held[:cut], inside)
        if whole:
            return
        start += cut
        held = held[cut:]


def find_cut(spans: Sequence[Span], held: Samples) -> int:
    """Where to end a window, in samples: a long silence, else the longest late pause, else a quiet place."""
    ends = [*(span.start for span in spans[1:]), held.size]
    gaps = [(span.end, after) for span, after in zip(spans, ends, strict=True)]
    places = [
        (after - end, min((end + after) // 2, end + _EDGE))
        for end, after in gaps
        if after - end >= _SHORT_GAP
    ]
    places = [(length, at) for length, at in places if at <= LONGEST]
    for length, at in places:
        if length >= _LONG_SILENCE:
            return at
    for earliest_s in (14, 5):
        late = [place for place in places if place[1] >= earliest_s * RATE_HZ]
        if late:
            return max(late)[1]
    return _quietest(held)


def _fill(held: Samples, source: Iterator[Samples]) -> tuple[Samples, bool]:
    """Take blocks until there is enough to choose a cut; whether there may be more."""
    parts = [held]
    size = held.size
    while size < _LOOK_AHEAD:
        block = next(source, None)
        if block is None:
            return np.concatenate(parts), False
        parts.append(block)
        size += block.size
    return np.concatenate(parts), True


def _trimmed_end(spans: Sequence[Span], size: int) -> int:
    end = spans[-1].end + _EDGE
    return end if end + _EDGE < size else size


def _quietest(held: Samples) -> int:
    """The middle of the quietest tenth of a second between 20 s and 28 s."""
    step = RATE_HZ // 10
    part = held[20 * RATE_HZ : LONGEST]
    part = part[: part.size // step * step]
    if not part.size:
        return min(LONGEST, held.size)
    loudness = np.square(part.reshape(-1, step)).mean(axis=1)
    return 20 * RATE_HZ + int(loudness.argmin()) * step + step // 2
