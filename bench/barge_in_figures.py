"""What is made of what a caller heard who spoke over the agent."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.headset import Ear

GAP_S = 0.5
# RMS of full scale 1: the measure of the caller's own ear.
LOUD = 0.0025


def next_answer(turns: Sequence[Mapping[str, Any]], host: str) -> float | None:
    """When the answer after the interrupted one began to sound; None if it is not told.

    A pause in what the caller says may be a turn of its own, without an answer.
    """
    for turn in turns[1:]:
        first: float | None = turn["at"].get("first_sound")
        if turn.get("host") == host and first is not None:
            return first
    return None


def silent_before(ear: Ear, began: float, answer: float) -> float:
    """When the agent fell silent that was spoken into at ``began``, whose next answer is known.

    The answer to a short word may follow a finished sentence without a gap; then the sentence
    lasts until the answer begins.
    """
    last = began
    for moment, loudness in zip(ear.times, ear.loudness, strict=True):
        if began <= moment < answer and loudness > LOUD:
            if moment - last > GAP_S:
                return last
            last = moment
    return last


def nearest_rank(ordered: Sequence[int], percent: int) -> int:
    """The smallest value that ``percent`` % of all do not exceed."""
    return ordered[-(-percent * len(ordered) // 100) - 1]


def silences(spoken: Sequence[Mapping[str, Any]], manner: str, waited_ms: int) -> dict[str, Any]:
    """How long from the caller's voice to silence; ``n`` is how many the percentiles are of.

    Args:
        spoken: the single results.
        manner: whose are counted.
        waited_ms: what one that never fell silent is taken for; it is no quicker than that.
    """
    own = [one for one in spoken if one["manner"] == manner]
    known = [one["silence_ms"] for one in own if one["silence_ms"] is not None]
    never = sum(one["outcome"] == "never_silent" for one in own)
    ms = sorted(known + [waited_ms] * never)
    found = {
        "made": len(own), "n": len(ms), "never_silent": never,
        "not_known": sum(one["outcome"] == "not_known" for one in own),
        "ended_a_sentence": sum(one["ends_a_sentence"] for one in own),
    }  # fmt: skip
    if not ms:
        return found
    p95 = nearest_rank(ms, 95)
    return found | {"p50": statistics.median(ms), "p95": p95, "max": ms[-1]}


def amiss(spoken: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Words heard against words kept, where it is known how long was listened for."""
    own = [one for one in spoken if one["interrupted"]]
    known = [one["words_amiss"] for one in own if one["words_amiss"] is not None]
    found: dict[str, Any] = {"n": len(known), "not_known": len(own) - len(known)}
    if known:
        found |= {"mean": round(statistics.mean(known), 2), "max": max(known)}
    return found
