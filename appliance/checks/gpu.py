"""The graphics card and its driver, where there is one or one is asked for."""

from __future__ import annotations

from appliance.checks.finding import Finding, fail, ok
from appliance.gpu import reader_of, unusable
from appliance.settings import Settings

CHECKS = "The GPU answers, if the machine has one."


def look(settings: Settings) -> Finding:
    """What NVIDIA's library says; no GPU is well unless the settings ask for one."""
    gpu = reader_of(settings).read()
    if settings.gpu == "required" and (found := unusable(gpu)):
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
