"""One measurement: round by round, the sides taking turns, to one result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from appliance import __version__
from appliance.errors import ApplianceError
from appliance.measuring.calls import Rooms
from appliance.measuring.figures import Turn, figures, ratios
from appliance.measuring.plan import Plan, Voices, calls_of
from appliance.measuring.sides import Side
from appliance.measuring.tokens import rate
from appliance.measuring.watching import Watch, machine

Progress = Callable[[int, int], None]
"""Told how many of how many things are done."""


@dataclass(frozen=True)
class Result:
    """What was measured: the figures of each side, and every turn."""

    when: str
    note: str
    plan: Plan
    recordings: list[str]
    models: dict[str, str]
    machine: dict[str, Any]
    sides: dict[str, dict[str, Any]]
    ratio: dict[str, float]
    turns: list[Turn] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Everything, the figures of the sides by their names first."""
        return {
            **self.sides,
            "ratio": self.ratio,
            "when": self.when,
            "version": __version__,
            "note": self.note,
            "plan": asdict(self.plan),
            "recordings": self.recordings,
            "models": self.models,
            "machine": self.machine,
            "turns": [asdict(turn) for turn in self.turns],
        }


@dataclass(frozen=True)
class Task:
    """What is to be measured: how much, with which recordings, and what is kept beside it."""

    plan: Plan
    voices: Voices
    models: dict[str, str]
    note: str = ""


async def measure(
    task: Task,
    sides: Sequence[Side],
    watch: Watch,
    progress: Progress = lambda _done, _all: None,
) -> Result:
    """Hold all calls of all sides; the sides change places from round to round.

    Args:
        task: what is to be measured.
        sides: whose answers; the first is compared with the second.
        watch: reads the machine meanwhile.
        progress: told after each thing that was done.

    Raises:
        ApplianceError: not a single question was answered.
    """
    plan, began = task.plan, time.gmtime()
    # The load of now is not the one that the measurement will make.
    what = machine(watch.gpu())
    rooms = [calls_of(plan, task.voices, room) for room in range(plan.rooms)]
    total, done = plan.deeds * plan.rooms * len(sides), 0
    turns: list[Turn] = []

    def one_more() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    for call in range(len(rooms[0])):
        deeds = [(number, calls[call]) for number, calls in enumerate(rooms)]
        for side in sides if call % 2 == 0 else reversed(sides):
            async with watch.during(side.name, side.memory):
                turns += await Rooms(side, plan.overlap, one_more).hold(call, deeds)
            # What it does between its calls is not to slow the other's.
            await side.rested()
    if not any(turn.counts or (turn.kind != "question" and not turn.why) for turn in turns):
        raise _nothing(turns)
    found: dict[str, dict[str, Any]] = {}
    for side in sides:
        mine = [turn for turn in turns if turn.side == side.name]
        llm = await rate(side.llm, plan.rooms, side.model)
        found[side.name] = {**figures(mine), "llm": llm, **watch.figures(side.name)}
    first = sides[0].name
    ratio = ratios(found[first], found[sides[1].name]) if len(sides) > 1 else {}
    return Result(
        time.strftime("%Y-%m-%dT%H:%M:%SZ", began), task.note, plan,
        [clip.name for clip in task.voices.questions], task.models, what, found, ratio, turns,
    )  # fmt: skip


def _nothing(turns: Sequence[Turn]) -> ApplianceError:
    why = next((turn.why for turn in turns if turn.why), "Every question was answered too early.")
    return ApplianceError(
        "nothing_measured", f"Not one answer could be measured. {why}",
        "Place one call with `scripts/appliance call` and look what happens.",
    )  # fmt: skip
