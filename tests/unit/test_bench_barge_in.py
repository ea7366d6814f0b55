"""The figures of the barge-in benchmark: what belongs to the interrupted answer, and what is not known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from appliance.headset import Ear
from bench.barge_in_figures import amiss, nearest_rank, next_answer, silences, silent_before

pytestmark = pytest.mark.unit


def _ear(*loud_s: tuple[float, float], until_s: float = 12.0) -> Ear:
    ear = Ear()
    for step in range(round(until_s * 100)):
        moment = step / 100
        ear.times.append(moment)
        ear.loudness.append(0.1 if any(a <= moment < b for a, b in loud_s) else 0.0)
        ear.frames.append(np.zeros(480, np.int16))
    return ear


def _turn(first_sound: float | None, host: str = "here") -> dict[str, Any]:
    return {"host": host, "at": {"first_sound": first_sound}}


def test_an_answer_without_a_gap_is_not_counted_to_the_sentence_before_it() -> None:
    """A short word is answered at once: the ear alone hears one long sentence."""
    ear = _ear((0.0, 8.0))
    assert ear.silent_from(2.0, 0.5) == pytest.approx(7.99)
    assert silent_before(ear, 2.0, answer=3.5) == pytest.approx(3.49)


def test_a_gap_before_the_answer_is_where_the_sentence_ended() -> None:
    assert silent_before(_ear((0.0, 3.0), (3.3, 8.0)), 2.0, answer=3.3) == pytest.approx(2.99)
    assert silent_before(_ear((0.0, 3.0), (4.0, 8.0)), 2.0, answer=9.0) == pytest.approx(2.99)


def test_the_next_answer_is_the_first_turn_that_sounded_on_this_machine() -> None:
    assert next_answer([_turn(1.0), _turn(None), _turn(7.0), _turn(9.0)], "here") == 7.0
    assert next_answer([_turn(1.0)], "here") is None
    assert next_answer([_turn(1.0), _turn(7.0, host="elsewhere")], "here") is None


def test_the_nearest_rank_of_few_is_the_maximum() -> None:
    assert nearest_rank(range(1, 13), 95) == 12
    assert nearest_rank(range(1, 21), 95) == 19
    assert nearest_rank(range(1, 41), 95) == 38


def _spoken(outcome: str, ms: int | None, words: int | None) -> dict[str, Any]:
    return {
        "manner": "finish", "outcome": outcome, "silence_ms": ms, "ends_a_sentence": True,
        "words_amiss": words, "interrupted": outcome != "never_silent",
    }  # fmt: skip


def test_what_cannot_be_told_is_counted_and_in_no_percentile() -> None:
    spoken = [
        _spoken("silenced", 1000, 2), _spoken("silenced", 1200, 0), _spoken("not_known", None, None),
        _spoken("never_silent", None, None), _spoken("silenced", 5, 1) | {"manner": "stop"},
    ]  # fmt: skip
    assert silences(spoken, "finish", 12_000) == {
        "made": 4, "n": 3, "never_silent": 1, "not_known": 1, "ended_a_sentence": 4,
        "p50": 1200, "p95": 12_000, "max": 12_000,
    }  # fmt: skip
    assert amiss(spoken) == {"n": 3, "not_known": 1, "mean": 1, "max": 2}
    assert amiss([]) == {"n": 0, "not_known": 0}
    assert silences([], "stop", 12_000)["n"] == 0
