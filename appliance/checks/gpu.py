"""The graphics card and its driver, where there is one or one is asked for."""

from __future__ import annotations

import asyncio

from appliance.catalogue.memory import component_memory
from appliance.checks.finding import Finding, fail, ok
from appliance.gpu import Gpu, Trouble, crowded, reader_of, unusable
from appliance.settings import Settings
from appliance.status import box_status

CHECKS = "The GPU answers, if the machine has one."


def look(settings: Settings) -> Finding:
    """What NVIDIA's library says; no GPU is well unless the settings ask for one."""
    gpu = reader_of(settings).read()
    if settings.gpu == "required" and (found := unusable(gpu) or _crowded(settings, gpu)):
        return fail(found.why, found.hint)
    if gpu.is_present:
        total = f", {gpu.memory_total // 2**20:,} MB" if gpu.memory_total else ""
        return ok(f"{gpu.name}{total}, driver {gpu.driver}, CUDA up to {gpu.cuda}.")
    if gpu.state != "absent":
        return fail(gpu.why, gpu.hint)
    if settings.stt.device == "cuda":
        return fail(
            f"The setting stt.device asks for a GPU. {gpu.why}",
            "Set stt.device to auto, or make the GPU visible to Earshot.",
        )
    return ok(f"CPU mode. {gpu.why}")


def _crowded(settings: Settings, gpu: Gpu) -> Trouble | None:
    # The box is only asked where its own models may be what fills the card.
    return crowded(gpu) and crowded(gpu, _held(settings, gpu))


def _held(settings: Settings, gpu: Gpu) -> int:
    """Bytes of graphics memory that the box's own models are predicted to hold now."""
    box = asyncio.run(box_status(settings, memory=False))
    loaded = {one.name for one in box.programs if one.state in ("ready", "loading")}
    return sum(
        part.size
        for part in component_memory(settings, gpu)
        if part.place == "vram" and part.name.partition("_")[0] in loaded
    )
