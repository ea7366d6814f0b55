"""One measurement: round by round, the sides taking turns, to one result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from appliance import __version__
from appliance.errors import ApplianceError
from appliance.measuring.calls import Rooms
from appliance.measuring.figures import Turn, figures, ratios
from appliance.measuring.plan import Deed, Plan, Voices, calls_of
from appliance.measuring.sides import Side
from appliance.measuring.tokens import rate
from appliance.measuring.watching import Watch, machine

Progress = Callable[[int, int], None]
"""Told how many of how many things are done."""
_LOOK = "Place one call with `scripts/appliance call` and look what happens."


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
    callers_beside: int = 0
    """Other callers that were on the line between the rounds, the most at once."""
    broken_off: bool = False
    """Whether less was done than the plan says."""

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
            "callers_beside": self.callers_beside,
            "broken_off": self.broken_off,
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
    broken_off: Callable[[Result], None] = lambda _result: None,
) -> Result:
    """Hold all calls of all sides; the sides change places from round to round.

    Args:
        task: what is to be measured.
        sides: whose answers; the first is compared with the second.
        watch: reads the machine meanwhile.
        progress: told after each thing that was done.
        broken_off: given what there is, if anything, where this is cancelled or fails.

    Raises:
        ApplianceError: not a single question was answered, in all or in one of the rounds.
    """
    # The load of now is not the one that the measurement will make.
    measurement = _Measurement(task, sides, watch, progress, machine(watch.gpu()))
    try:
        await measurement.hold_calls()
        await measurement.count_tokens()
    except (asyncio.CancelledError, ApplianceError):
        if any(turn.measured for turn in measurement.turns):
            broken_off(measurement.result(broken_off=True))
        raise
    return measurement.result()


@dataclass
class _Measurement:
    """One under way, and what is known so far."""

    task: Task
    sides: Sequence[Side]
    watch: Watch
    progress: Progress
    machine: dict[str, Any]
    began: time.struct_time = field(default_factory=time.gmtime)
    turns: list[Turn] = field(default_factory=list)
    tokens: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    finished: dict[str, set[int]] = field(default_factory=dict)
    """The rounds that each side held to their end."""
    sessions: set[str] = field(default_factory=set)
    callers_beside: int = 0
    done: int = 0

    async def hold_calls(self) -> None:
        plan, voices = self.task.plan, self.task.voices
        rooms = [calls_of(plan, voices, room) for room in range(plan.rooms)]
        for call in range(len(rooms[0])):
            deeds = [(number, calls[call]) for number, calls in enumerate(rooms)]
            for side in self.sides if call % 2 == 0 else reversed(self.sides):
                await self._hold_round(side, call, deeds)
        if not any(turn.measured for turn in self.turns):
            raise _nothing(self.turns)

    async def _hold_round(self, side: Side, call: int, deeds: list[tuple[int, list[Deed]]]) -> None:
        held = Rooms(side, self.task.plan.overlap, self._one_more)
        try:
            async with self.watch.during(side.name, side.memory):
                await held.hold(call, deeds)
        finally:
            # Also of a round that is broken off.
            self.turns += sorted(held.turns, key=lambda turn: turn.room)
        # A call of an earlier round may still be on its way out.
        self.sessions |= held.sessions
        for one in self.sides:
            self.callers_beside = max(self.callers_beside, await one.others(self.sessions))
        if self.done < self._total and not any(turn.answered for turn in held.turns):
            raise self._unanswered(side, call, held.turns)
        self.finished.setdefault(side.name, set()).add(call)
        # What it does between its calls is not to slow the other's.
        await side.rested()

    @property
    def _total(self) -> int:
        return self.task.plan.deeds * self.task.plan.rooms * len(self.sides)

    def _one_more(self) -> None:
        self.done += 1
        self.progress(self.done, self._total)

    def _unanswered(self, side: Side, call: int, turns: Sequence[Turn]) -> ApplianceError:
        if not any(turn.measured for turn in self.turns):
            return _nothing(self.turns)
        why = next(turn.why for turn in turns)
        return ApplianceError(
            "round_unanswered",
            f"In round {call + 1} ({side.name}) not one question was answered. {why}", _LOOK,
        )  # fmt: skip

    async def count_tokens(self) -> None:
        for side in self.sides:
            self.tokens[side.name] = await rate(side.llm, self.task.plan.rooms, side.model)

    def result(self, *, broken_off: bool = False) -> Result:
        found: dict[str, dict[str, Any]] = {}
        for side in self.sides:
            mine = figures([turn for turn in self.turns if turn.side == side.name])
            found[side.name] = {
                **mine, "llm": self.tokens.get(side.name), **self.watch.figures(side.name),
            }  # fmt: skip
        task = self.task
        return Result(
            time.strftime("%Y-%m-%dT%H:%M:%SZ", self.began), task.note, task.plan,
            [clip.name for clip in task.voices.questions], task.models, self.machine, found,
            self._ratio(), self.turns, self.callers_beside, broken_off,
        )  # fmt: skip

    def _ratio(self) -> dict[str, float]:
        """Of the rounds that all sides finished: a side that had one more was asked other questions."""
        if len(self.sides) < 2:
            return {}
        rounds = set.intersection(*(self.finished.get(side.name, set()) for side in self.sides))
        first, second = (
            figures([turn for turn in self.turns if turn.side == side.name and turn.call in rounds])
            | {"llm": self.tokens.get(side.name)}
            for side in self.sides[:2]
        )
        return ratios(first, second)


def _nothing(turns: Sequence[Turn]) -> ApplianceError:
    why = next((turn.why for turn in turns if turn.why), "Every question was answered too early.")
    return ApplianceError("nothing_measured", f"Not one answer could be measured. {why}", _LOOK)
