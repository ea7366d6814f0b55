"""What the memory is used for, part by part: measured where that is possible, else estimated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from appliance import cuda
from appliance.catalogue import Catalogue
from appliance.catalogue.entries import Task
from appliance.catalogue.fit import Need, Place, Plan, need_by_entry, need_of, place_of
from appliance.catalogue.reading import shape_of_installed
from appliance.errors import ApplianceError
from appliance.seats import conversations_of
from appliance.settings import Settings

GPU_PROGRAMS: tuple[Task, ...] = ("llm", "stt")
"""What may lie on a GPU; the voice stays on the processor."""
_GONE = ("stopped", "given_up", "restarting")
_TITLES = {
    "llm": "Language model",
    "stt": "Speech recognition",
    "tts": "Voice",
    "agent": "Calls",
    "box": "Rest of Earshot",
}


@dataclass(frozen=True)
class Component:
    """One part of the memory, in bytes."""

    name: str
    title: str
    bytes: int
    measured: bool


def ram_components(used_by: Mapping[str, int], total: int, free: int) -> list[Component]:
    """The machine's memory by program, all of it measured.

    Args:
        used_by: each program's proportional set size.
        total: of the machine.
        free: what programs can still take.
    """
    known = {name: used_by.get(name, 0) for name in ("llm", "stt", "tts", "agent")}
    known["box"] = sum(size for name, size in used_by.items() if name not in known)
    used = _within(known, total - free)
    parts = [Component(name, _TITLES[name], size, True) for name, size in used.items() if size]
    return [*parts, *_remainder(parts, total, free, "Other programs")]


def vram_components(
    needs: Mapping[str, Need], measured: Mapping[str, int], total: int, free: int
) -> list[Component]:
    """A GPU's memory by use.

    NVIDIA's library cannot tell it by program inside a container, so a program's share is what the
    whole rose by when it was last started alone; where that was never seen, it is predicted.

    Args:
        needs: the predicted need of each program that is loaded on the GPU.
        measured: what was seen of a program.
        total: of the GPU.
        free: what is free.
    """
    sizes: dict[str, int] = {}
    titles: dict[str, str] = {}
    seen: dict[str, bool] = {}

    def add(name: str, title: str, size: int, *, is_measured: bool) -> None:
        if size > 0:
            sizes[name], titles[name], seen[name] = size, title, is_measured

    for name, need in needs.items():
        whole = measured.get(name)
        title = _TITLES[name]
        if name != "llm":
            add(name, title, whole or need.total, is_measured=whole is not None)
            continue
        add("llm_weights", f"{title}: weights", need.weights, is_measured=False)
        add("llm_kv", f"{title}: conversations (KV)", need.kv, is_measured=False)
        work = need.work if whole is None else whole - need.weights - need.kv
        add("llm_work", f"{title}: work space", work, is_measured=whole is not None)
    used = _within(sizes, total - free)
    parts = [Component(name, titles[name], size, seen[name]) for name, size in used.items()]
    return [*parts, *_remainder(parts, total, free, "Other")]


def vram_needs(settings: Settings) -> dict[str, Need]:
    """What the selected models are predicted to take on a GPU; a model that cannot be read is left out."""
    remote = {"stt": settings.stt.url, "llm": settings.llm.url}
    found: dict[str, Need] = {}
    for task in GPU_PROGRAMS:
        place: Place = place_of(
            task,
            gpu=task != "llm" or cuda.has_llama(),
            stt_device=settings.stt.device,
            gpu_layers=settings.llm.gpu_layers,
        )
        if place == "ram" or remote[task]:
            continue
        plan = Plan(place, settings.llm.context_tokens, conversations_of(settings))
        try:
            catalogue = Catalogue(settings)
            model = catalogue.installed(task, catalogue.selected(task))
            try:
                need: Need | None = need_of(shape_of_installed(model), plan)
            except ApplianceError:
                need = need_by_entry(model.entry, plan)
        except ApplianceError:
            # The page Models says what is wrong with it.
            continue
        if need is not None:
            found[task] = need
    return found


class Deltas:
    """Learns a program's share of the GPU's memory from what the whole rises by when it starts.

    Attributes:
        measured: bytes by program.
    """

    def __init__(self) -> None:
        self.measured: dict[str, int] = {}
        self._without: tuple[str, int] | None = None

    def see(self, states: Mapping[str, str], used: int) -> None:
        """Take one reading.

        Args:
            states: the state of each program that may lie on the GPU.
            used: bytes in use on the GPU.
        """
        gone = [name for name, state in states.items() if state in _GONE]
        waiting = [name for name, state in states.items() if state not in (*_GONE, "ready")]
        if len(gone) == 1 and not waiting:
            self._without = gone[0], used
        elif not gone and not waiting:
            if self._without and used > self._without[1]:
                self.measured[self._without[0]] = used - self._without[1]
            self._without = None
        elif gone or not self._without or waiting != [self._without[0]]:
            # Two of them at once: nobody can say whose the difference is.
            self._without = None


def _within(sizes: Mapping[str, int], used: int) -> dict[str, int]:
    """The same parts, made smaller together where they are more than what is used."""
    whole = sum(sizes.values())
    if whole <= max(used, 0):
        return dict(sizes)
    return {name: size * max(used, 0) // whole for name, size in sizes.items()}


def _remainder(parts: list[Component], total: int, free: int, title: str) -> list[Component]:
    other = max(0, total - free - sum(part.bytes for part in parts))
    known = all(part.measured for part in parts)
    return [Component("other", title, other, known), Component("free", "Free", free, True)]
