"""What the models of this box take and what is free for them: graphics memory, else memory."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from appliance import cuda
from appliance.catalogue.entries import Task
from appliance.catalogue.fit import (
    Fit,
    Need,
    Place,
    Plan,
    judge,
    need_by_entry,
    need_of,
    place_of,
)
from appliance.catalogue.installed import Catalogue
from appliance.catalogue.reading import shape_of_installed
from appliance.errors import ApplianceError, NotFound
from appliance.gpu import Gpu
from appliance.seats import conversations_of
from appliance.settings import Settings
from appliance.supervision import supervisor_of

TASKS: tuple[Task, ...] = ("stt", "llm", "tts")
_CONTAINER = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Component:
    """One part of the memory bar; predicted, not measured."""

    name: str
    """``llm_weights``, ``llm_kv``, ``llm_work``, ``stt`` or ``tts``."""
    label: str
    size: int
    place: Place


def place_for(settings: Settings, task: Task, gpu: Gpu) -> Place:
    """Where this task's model lies."""
    return place_of(
        task,
        gpu=gpu.is_present and (task != "llm" or cuda.has_llama()),
        stt_device=settings.stt.device,
        gpu_layers=settings.llm.gpu_layers,
    )


def plan_for(settings: Settings, task: Task, gpu: Gpu, context_tokens: int | None = None) -> Plan:
    """What a model of this task is to serve with these settings."""
    place = place_for(settings, task, gpu)
    kind = settings.stt.compute_type
    return Plan(
        place=place,
        context_tokens=context_tokens or settings.llm.context_tokens,
        conversations=conversations_of(settings),
        int8=kind.startswith("int8") or (kind == "auto" and place == "ram"),
    )


def need_for(
    settings: Settings, catalogue: Catalogue, model_id: str, gpu: Gpu, context: int | None = None
) -> Need | None:
    """What this model will take: exactly from its files, else roughly from the catalogue.

    Raises:
        NotFound: nobody knows this model.
        BadInput: its files are damaged.
    """
    try:
        model = catalogue.find(model_id)
    except NotFound:
        entry = catalogue.entry(model_id)
        return need_by_entry(entry, plan_for(settings, entry.task, gpu, context))
    plan = plan_for(settings, model.task, gpu, context)
    return need_of(shape_of_installed(model), plan)


def fit_for(
    settings: Settings,
    catalogue: Catalogue,
    model_id: str,
    task: Task,
    gpu: Gpu,
    context: int | None = None,
) -> Fit:
    """Whether a model fits in the place of the one that serves its task now.

    Raises:
        NotFound: nobody knows this model.
        BadInput: its files are damaged.
    """
    need = need_for(settings, catalogue, model_id, gpu, context)
    place: Place = need.place if need else "ram"
    return judge(need, free_after(settings, catalogue, task, place, gpu))


def free_after(settings: Settings, catalogue: Catalogue, task: Task, place: Place, gpu: Gpu) -> int:
    """Bytes that will be free in this place once the task's present model is unloaded."""
    if place == "ram":
        return _ram_free() + _program_memory(settings, task)
    free = gpu.memory_free or 0
    if place_for(settings, task, gpu) == "vram" and _is_running(settings, task):
        with suppress(ApplianceError):
            need = need_for(settings, catalogue, catalogue.selected(task), gpu)
            free += need.total if need else 0
    return free


def component_memory(settings: Settings, gpu: Gpu) -> list[Component]:
    """The parts of the memory bar for the models that serve now; one that cannot be read is left out."""
    catalogue = Catalogue(settings)
    remote = {"stt": settings.stt.url, "llm": settings.llm.url, "tts": settings.tts.url}
    found: list[Component] = []
    for task in TASKS:
        if remote[task]:
            continue
        try:
            need = need_for(settings, catalogue, catalogue.selected(task), gpu)
        except ApplianceError:
            continue
        if need is None:
            continue
        if task == "llm":
            found += [
                Component("llm_weights", "Language model", need.weights, need.place),
                Component("llm_kv", "Conversation", need.kv, need.place),
                Component("llm_work", "Language model's work space", need.work, need.place),
            ]
        else:
            label = "Ear" if task == "stt" else "Voice"
            found.append(Component(task, label, need.total, need.place))
    return found


def others_memory(settings: Settings, gpu: Gpu, own: list[Component]) -> dict[Place, int]:
    """Bytes that other programs take now; 0 where it cannot be told from the box's own.

    Args:
        settings: the box's.
        gpu: as it was read.
        own: the parts of the memory bar; nobody measures what they take of the graphics memory.
    """
    loaded = sum(
        one.size for one in own if one.place == "vram" and _is_running(settings, _task_of(one))
    )
    # What the GPU's driver does not tell is not taken for used.
    used = (gpu.memory_total or 0) - gpu.memory_free if gpu.memory_free is not None else 0
    box = _box_memory(settings)
    ram = ram_total() - _ram_free() - box if box else 0
    return {"ram": max(0, ram), "vram": max(0, used - loaded)}


def ram_total() -> int:
    """Bytes of memory, or of the container's limit where that is less."""
    total = psutil.virtual_memory().total
    return min(total, _limit() or total)


def _ram_free() -> int:
    free = psutil.virtual_memory().available
    limit = _limit()
    if limit is None:
        return free
    with suppress(OSError, ValueError, KeyError):
        used = int((_CONTAINER / "memory.current").read_text())
        lines = (_CONTAINER / "memory.stat").read_text().splitlines()
        stat = dict(line.split(" ", 1) for line in lines)
        # Files that were read are let go of when memory is short.
        free = min(free, max(0, limit - used + int(stat["inactive_file"])))
    return free


def _limit() -> int | None:
    try:
        return int((_CONTAINER / "memory.max").read_text())
    except (OSError, ValueError):
        # No container, or no limit: the file is absent or says "max".
        return None


def _program_memory(settings: Settings, task: Task) -> int:
    """What stopping this service will free: its pages that no file stands behind."""
    with suppress(ApplianceError):
        return _own_pages(supervisor_of(settings).process(task).pid)
    return 0


def _box_memory(settings: Settings) -> int:
    """What stopping all programs of the box would free; 0 if nobody knows them."""
    with suppress(ApplianceError):
        running = supervisor_of(settings).processes().values()
        return sum(_own_pages(one.pid) for one in running if one.pid)
    return 0


def _own_pages(pid: int) -> int:
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                memory = one.memory_info()
                total += max(0, memory.rss - memory.shared)
    return total


def _task_of(part: Component) -> Task:
    return next(task for task in TASKS if part.name.startswith(task))


def _is_running(settings: Settings, task: Task) -> bool:
    try:
        return supervisor_of(settings).process(task).state == "RUNNING"
    except ApplianceError:
        return False
