"""How many calls the box takes at once: the owner's number, or what its memory allows."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from appliance import cuda
from appliance.catalogue import Catalogue, InstalledModel
from appliance.catalogue.digests import models_in_use
from appliance.catalogue.fit import MIB, Need, Place, Plan, need_of, place_of
from appliance.catalogue.reading import shape_of_installed
from appliance.errors import ApplianceError
from appliance.gpu import reader_of, unusable
from appliance.settings import Settings

PER_CALL_MB = 500
"""One call's process, its detectors, and its conversation with the embedded model."""
PROCESS_MB = 410
"""Of it the process and its detectors."""
PROGRAMS_MB = 900
"""Agent, LiveKit, panel and front door."""
MOST = 4
"""More than this is never assumed: whether a machine answers more in good time has to be tried."""
# For a model whose needs nobody has written down.
_UNKNOWN_FACTOR = 1.3
_KEPT_FREE = 0.1
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Seats:
    """A number of calls, at least 1, and a sentence about where it comes from."""

    count: int
    why: str


def seats_of(settings: Settings) -> Seats:
    """The setting ``agent.seats``; if that is 0, what fits into the machine's memory.

    Of the memory (the container's, where that is less) a tenth stays free; the programs and the
    models in use take their part; the rest is divided by what one call needs. Where the language
    model computes in memory, that is a process and a conversation as long as the settings say: its
    cache is taken whole at the start. The same settings give the same number on the same machine,
    whatever runs at the moment.
    """
    if settings.agent.seats:
        return Seats(settings.agent.seats, "set by agent.seats")
    memory_mb = memory_of_machine_mb()
    needed_mb = PROGRAMS_MB + models_mb(settings)
    free_mb = int(memory_mb * (1 - _KEPT_FREE)) - needed_mb
    per_call_mb = PER_CALL_MB
    if need := _llm_in_memory(settings):
        per_call_mb = PROCESS_MB + need.kv // MIB
    count = max(1, min(MOST, free_mb // per_call_mb))
    return Seats(
        count,
        f"from memory: {memory_mb:,} MB, of it {needed_mb:,} MB for programs and models, "
        f"{per_call_mb:,} MB for each call, at most {MOST}",
    )


def conversations_of(settings: Settings) -> int:
    """How many the language model keeps at once: each seat's, and one of other programs."""
    return seats_of(settings).count + 1


def memory_of_machine_mb() -> int:
    """The machine's memory, or the container's limit where that is less."""
    total = psutil.virtual_memory().total
    # Without a limit the file is absent or says "max".
    with suppress(OSError, ValueError):
        total = min(total, int(_CONTAINER_LIMIT.read_text()))
    return total // 2**20


def models_mb(settings: Settings) -> int:
    """What the models in use need in memory; one that is not installed counts as nothing.

    In the language model's part there is room for the one conversation of other programs.
    """
    try:
        models = models_in_use(settings, Catalogue(settings))
        known = {model.task: _known_mb(model) for model in models}
    except (ApplianceError, OSError):
        # The doctor says what is wrong with them; a call then finds the box not ready anyway.
        return 0
    if need := _llm_in_memory(settings):
        known["llm"] = max(known["llm"], need.total // MIB)
    return sum(known.values())


def _known_mb(model: InstalledModel) -> int:
    size = sum(path.stat().st_size for path in model.files.values())
    return model.entry.memory_mb or int(size / 1e6 * _UNKNOWN_FACTOR)


def _llm_in_memory(settings: Settings) -> Need | None:
    """What the language model takes for one conversation; None where it is not in this memory."""
    if settings.llm.url or _llm_place(settings) != "ram":
        return None
    try:
        catalogue = Catalogue(settings)
        shape = shape_of_installed(catalogue.installed("llm", catalogue.selected("llm")))
    except (ApplianceError, OSError):
        # It will not load either, and says why.
        return None
    return need_of(shape, Plan("ram", settings.llm.context_tokens, conversations=1))


def _llm_place(settings: Settings) -> Place:
    layers = settings.llm.gpu_layers
    if settings.gpu == "off" or not layers or not cuda.has_llama():
        return "ram"
    reader = reader_of(settings)
    gpu = reader.read()
    reader.close()
    return place_of(
        "llm", gpu=unusable(gpu) is None, stt_device=settings.stt.device, gpu_layers=layers
    )
