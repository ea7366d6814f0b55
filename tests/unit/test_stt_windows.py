"""Cutting recordings into windows, with a detector that hears anything but zeros."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.stt.vocabulary import RATE_HZ, Samples, Span, Window
from services.stt.windows import LONGEST, find_cut, windows

pytestmark = pytest.mark.unit

_STEP = RATE_HZ // 10


def hear_all_but_zeros(samples: Samples) -> list[Span]:
    loud = [bool(samples[i : i + _STEP].any()) for i in range(0, samples.size, _STEP)]
    spans: list[Span] = []
    begun: int | None = None
    for index, voiced in enumerate([*loud, False]):
        if voiced and begun is None:
            begun = index
        elif not voiced and begun is not None:
            spans.append(Span(begun * _STEP, min(index * _STEP, samples.size)))
            begun = None
    return spans


def recording(*parts: tuple[float, float]) -> Samples:
    """Alternating (silence, voice) in seconds; each voiced part has its own level."""
    pieces = [np.zeros(0, np.float32)]
    for number, (silence_s, voice_s) in enumerate(parts, start=1):
        pieces.append(np.zeros(round(silence_s * RATE_HZ), np.float32))
        pieces.append(np.full(round(voice_s * RATE_HZ), number / 100, np.float32))
    return np.concatenate(pieces)


def blocks(samples: Samples, size: int = 4 * RATE_HZ) -> Iterator[Samples]:
    for start in range(0, samples.size, size):
        yield samples[start : start + size]


def cut(samples: Samples) -> list[Window]:
    return list(windows(blocks(samples), hear_all_but_zeros))


def test_a_short_recording_is_one_window_uncut() -> None:
    samples = recording((0.3, 5), (1.0, 8), (0.2, 3))
    (window,) = cut(samples)
    assert window.start_s == 0
    assert np.array_equal(window.samples, samples)
    assert len(window.spans) == 3


def test_silence_and_nothing_give_no_window() -> None:
    assert cut(np.zeros(90 * RATE_HZ, np.float32)) == []
    assert cut(np.zeros(0, np.float32)) == []


def test_a_click_is_not_speech() -> None:
    assert cut(recording((2, 0.1), (2, 0))) == []


def test_long_silence_at_the_ends_is_left_out() -> None:
    (window,) = cut(recording((20, 3), (15, 0)))
    assert window.start_s == pytest.approx(19.5)
    assert window.samples.size == pytest.approx(4 * RATE_HZ, abs=_STEP)
    assert window.spans[0].start == RATE_HZ // 2


def test_speech_after_minutes_of_silence_keeps_its_place() -> None:
    (window,) = cut(recording((200, 3)))
    assert window.start_s + window.spans[0].start / RATE_HZ == pytest.approx(200)


def test_a_long_recording_is_cut_in_its_pauses() -> None:
    samples = recording(*[(0.6, 5.4)] * 20)
    found = cut(samples)
    assert all(window.samples.size <= LONGEST for window in found)
    assert sum(len(window.spans) for window in found) == 20
    assert sum(s.end - s.start for w in found for s in w.spans) == round(20 * 5.4 * RATE_HZ)


def test_a_long_silence_ends_a_window_early() -> None:
    first, second = cut(recording((0, 4), (6, 24)))
    assert first.samples.size / RATE_HZ == pytest.approx(4.5)
    assert second.start_s == pytest.approx(9.5)


def test_speech_without_pause_is_cut_where_it_is_quietest() -> None:
    held = np.full(30 * RATE_HZ, 0.5, np.float32)
    held[24 * RATE_HZ : 24 * RATE_HZ + _STEP] = 0.1
    at = find_cut([Span(0, held.size)], held)
    assert 24 * RATE_HZ <= at <= 24 * RATE_HZ + _STEP


def test_only_half_a_minute_is_held_at_a_time() -> None:
    taken = 0

    def endless() -> Iterator[Samples]:
        nonlocal taken
        while True:
            taken += 1
            yield recording((0.5, 3.5))

    for number, window in zip(range(1, 50), windows(endless(), hear_all_but_zeros), strict=False):
        assert taken * 4 <= window.start_s + 36, number


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 400)), max_size=6))
def test_no_voice_is_lost_or_heard_twice(parts: list[tuple[int, int]]) -> None:
    samples = recording(*[(silence / 10, 0.3 + voice / 10) for silence, voice in parts])
    found = cut(samples)
    ends = [(w.start_s, w.start_s + w.samples.size / RATE_HZ) for w in found]
    assert all(left[1] <= right[0] + 1e-6 for left, right in itertools.pairwise(ends))
    assert all(w.samples.size <= LONGEST for w in found)
    for window in found:
        start = round(window.start_s * RATE_HZ)
        assert np.array_equal(window.samples, samples[start : start + window.samples.size])
    kept = sum(int(np.count_nonzero(w.samples)) for w in found)
    # A hard cut may leave a remainder shorter than a word behind.
    assert kept >= np.count_nonzero(samples) - 0.2 * RATE_HZ * (len(found) + 1)
