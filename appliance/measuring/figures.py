"""From single turns to the figures that are compared: percentiles, shares, ratios."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.measuring.plan import Kind
from appliance.store.vocabulary import STAGES

PERCENTILES = (50, 90, 99)
SPOKE_ON = "The agent spoke on."
OVER_TOO_SOON = "The answer was over before it was spoken into."


@dataclass(frozen=True)
class Turn:
    """One thing that a caller did, and what came of it.

    ``ms`` are the stages after the caller's last voiced sample; of a barge-in ``silence``, from the
    caller's first voiced sample to silence at its ear. None: not reached, or not told.
    """

    side: str
    room: int
    call: int
    kind: Kind
    file: str
    ms: Mapping[str, int | None] = field(default_factory=dict)
    early: bool = False
    """The agent's voice was heard before the caller's last word."""
    words_heard: int = 0
    words_answered: int = 0
    why: str = ""
    """Why there is no figure; empty if there is one."""

    @property
    def answered(self) -> bool:
        """Whether there was an answer at all, be it too early or too long to be timed."""
        return not self.why or self.why in {SPOKE_ON, OVER_TOO_SOON}

    @property
    def measured(self) -> bool:
        """Whether there is a figure of it."""
        return self.counts or (self.kind != "question" and not self.why)

    @property
    def counts(self) -> bool:
        """Whether its times are those of an answer to the whole question."""
        heard = self.ms.get("at_ear") is not None
        return self.kind == "question" and not self.early and not self.why and heard


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that ``percent`` % of the others do not exceed, between neighbours in a straight line.

    Raises:
        ValueError: there is none.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def summary(values: Iterable[float | None]) -> dict[str, float] | None:
    """``n, p50, p90, p99, min, max``; None where there is no value."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    found: dict[str, float] = {"n": len(known)}
    found |= {f"p{percent}": round(percentile(known, percent), 1) for percent in PERCENTILES}
    return found | {"min": min(known), "max": max(known)}


def figures(turns: Sequence[Turn]) -> dict[str, Any]:
    """All figures of one side. Times in ms; a key whose value nobody measured is None."""
    counted = [turn for turn in turns if turn.counts]
    questions = [turn for turn in turns if turn.kind == "question"]
    pauses = [turn for turn in turns if turn.kind == "pause"]
    barge_ins = [turn for turn in turns if turn.kind == "barge_in"]
    found: dict[str, Any] = {
        f"{stage}_ms": summary(turn.ms.get(stage) for turn in counted) for stage in STAGES
    }
    at_ear = found["at_ear_ms"]
    return {
        **found,
        "p90_over_p50": round(at_ear["p90"] / at_ear["p50"], 2) if at_ear else None,
        "questions": {
            "asked": len(questions),
            "answered": len(counted),
            "cut_into": sum(turn.early for turn in questions),
        },
        "pauses": {
            "made": len(pauses),
            "spoken_into": sum(turn.early for turn in pauses),
            "failed": sum(bool(turn.why) for turn in pauses),
        },
        # The percentiles are of those that were silenced; without the others they would flatter.
        "barge_ins": {
            "made": len(barge_ins),
            "silenced": sum(turn.ms.get("silence") is not None for turn in barge_ins),
            "never_silent": sum(turn.why == SPOKE_ON for turn in barge_ins),
        },
        "silence_ms": summary(turn.ms.get("silence") for turn in barge_ins),
    }


def ratios(ours: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, float]:
    """Ours divided by the other's, for what both have.

    Of times, below 1: ours is faster. Of ``tokens_per_s``, above 1: ours makes more of them.
    """
    found: dict[str, float] = {}
    for name in ("at_ear_ms", "silence_ms"):
        for rank in ("p50", "p90"):
            mine, theirs = ours.get(name), other.get(name)
            if mine and theirs and theirs[rank]:
                found[f"{name.removesuffix('_ms')}_{rank}"] = round(mine[rank] / theirs[rank], 3)
    made, others = ((side.get("llm") or {}).get("tokens_per_s") for side in (ours, other))
    if made and others:
        found["tokens_per_s"] = round(made / others, 3)
    return found
