"""What NVIDIA's own library says of the GPU; "no GPU" is a normal answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import pynvml

from appliance.settings import Settings

State = Literal["present", "absent", "driver_mismatch", "lost", "refused", "unknown"]

LEAST_DRIVER = 525
# Two CUDA programs take half of this before they load anything.
LEAST_MEMORY = 1 << 30
_RESTART_BOX = "Restart Earshot's container; outside a container, restart the machine."
_POWER_CYCLE = (
    "Switch the machine off and on again. If it happens again, check the card's power and cooling."
)


@dataclass(frozen=True)
class Trouble:
    """Why the GPU cannot be used, for people."""

    state: State
    why: str
    hint: str = ""


_ON_CPU = "; everything runs on the CPU."
NO_GPU = Trouble("absent", f"This machine has no NVIDIA GPU{_ON_CPU}")
_OFF = Trouble("absent", f"The setting gpu is off{_ON_CPU}")
_MISMATCH = Trouble(
    "driver_mismatch", "NVIDIA's driver and its library are of different versions.",
    "The driver was updated while it ran: restart the machine.",
)  # fmt: skip
_OLD_DRIVER = Trouble(
    "driver_mismatch", "NVIDIA's driver is too old to be asked.", "Update the driver to 525 or newer."
)  # fmt: skip
_BUSY = Trouble(
    "unknown", "The GPU does not answer at the moment.",
    "If this stays for a minute, restart the machine.",
)  # fmt: skip

TROUBLES: dict[int, Trouble] = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: NO_GPU,
    pynvml.NVML_ERROR_GPU_NOT_FOUND: NO_GPU,
    pynvml.NVML_ERROR_NOT_FOUND: NO_GPU,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: Trouble(
        "absent", f"NVIDIA's driver is installed, but not loaded{_ON_CPU}",
        "If the machine has an NVIDIA GPU, restart it; then reinstall the driver.",
    ),
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: _MISMATCH,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: _OLD_DRIVER,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: _OLD_DRIVER,
    pynvml.NVML_ERROR_DEPRECATED: _OLD_DRIVER,
    pynvml.NVML_ERROR_GPU_IS_LOST: Trouble("lost", "The GPU has dropped out.", _POWER_CYCLE),
    pynvml.NVML_ERROR_RESET_REQUIRED: Trouble(
        "lost", "The GPU has failed and needs a reset.", "Restart the machine."
    ),
    pynvml.NVML_ERROR_INSUFFICIENT_POWER: Trouble(
        "lost", "The GPU gets too little power.", "Check that the card's power cables are plugged in."
    ),
    # What a container gets after `systemctl daemon-reload` on its host took its devices away.
    pynvml.NVML_ERROR_UNKNOWN: Trouble("lost", "The GPU was taken away from Earshot.", _RESTART_BOX),
    pynvml.NVML_ERROR_NO_PERMISSION: Trouble(
        "refused", "Earshot may not use the GPU.",
        "Let its account read and write /dev/nvidia*; in a container, check the GPU's reservation.",
    ),
    pynvml.NVML_ERROR_OPERATING_SYSTEM: Trouble(
        "refused", "The operating system keeps Earshot from the GPU.", _RESTART_BOX
    ),
    pynvml.NVML_ERROR_CORRUPTED_INFOROM: Trouble(
        "unknown", "The GPU's own memory of itself is damaged.",
        "It may work on; plan to have the card replaced.",
    ),
    pynvml.NVML_ERROR_IRQ_ISSUE: Trouble(
        "unknown", "The GPU's interrupts do not arrive.", "Restart the machine; then check its BIOS."
    ),
    pynvml.NVML_ERROR_MEMORY: Trouble(
        "unknown", "The machine has too little memory left to ask the GPU.", "Close other programs."
    ),
    pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES: Trouble(
        "unknown", "The GPU is too busy to be asked.", "Close other programs that use it."
    ),
    pynvml.NVML_ERROR_TIMEOUT: _BUSY,
    pynvml.NVML_ERROR_NOT_READY: _BUSY,
    pynvml.NVML_ERROR_IN_USE: _BUSY,
}  # fmt: skip
"""What each of NVML's error codes means for the owner; any other is told with its number."""

# After these nothing else can be asked; after others only the one figure is missing.
_FATAL = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_GPU_IS_LOST,
        pynvml.NVML_ERROR_RESET_REQUIRED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_OPERATING_SYSTEM,
        pynvml.NVML_ERROR_INSUFFICIENT_POWER,
        pynvml.NVML_ERROR_UNKNOWN,
    }
)


@dataclass(frozen=True)
class Gpu:
    """The first GPU as it is now. A figure that it does not tell is None; memory is in bytes."""

    state: State
    why: str = ""
    hint: str = ""
    name: str = ""
    driver: str = ""
    cuda: str = ""
    """The newest CUDA that the driver can run, e.g. 12.8."""
    temperature_c: int | None = None
    load_percent: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    memory_total: int | None = None
    memory_used: int | None = None
    memory_free: int | None = None

    @property
    def is_present(self) -> bool:
        """Whether it is there and answers."""
        return self.state == "present"


def trouble_of(code: int) -> Trouble:
    """What an error code of NVML means."""
    return TROUBLES.get(code) or Trouble(
        "unknown", f"The GPU cannot be read (NVML's error {code}).", _RESTART_BOX
    )


def reader_of(settings: Settings) -> GpuReader:
    """What reads the GPU, unless the settings say that there is to be none."""
    return GpuReader(is_used=settings.gpu != "off")


def why_unusable(settings: Settings) -> str:
    """Why the GPU that the settings require cannot be used, in one line; empty if it can or need not.

    For a box that does not run yet: what it holds of the GPU itself would count as others'.
    """
    if settings.gpu != "required":
        return ""
    gpu = GpuReader().read()
    found = unusable(gpu) or crowded(gpu)
    return f"{found.why} {found.hint}" if found else ""


def unusable(gpu: Gpu) -> Trouble | None:
    """Why models can never run on this GPU, and what to do; None if they can.

    What is free on it at the moment does not count: whoever places a model asks that.
    """
    if not gpu.is_present:
        why = gpu.why.replace(_ON_CPU, ".")
        hint = gpu.hint or "Give it to Earshot (docs/install.md), or set gpu to off."
        return Trouble(gpu.state, why, hint)
    driver = gpu.driver.partition(".")[0]
    if driver.isdecimal() and int(driver) < LEAST_DRIVER:
        why = f"NVIDIA's driver {gpu.driver} is too old for CUDA 12."
        return Trouble("driver_mismatch", why, f"Update it to {LEAST_DRIVER} or newer.")
    if gpu.memory_total is not None and gpu.memory_total < LEAST_MEMORY:
        why = f"The GPU has only {gpu.memory_total >> 20} MB of memory."
        return Trouble("present", why, "Set gpu to off.")
    return None


def crowded(gpu: Gpu, own: int = 0) -> Trouble | None:
    """Why other programs leave the box no room on this GPU, and what to do; None if they do.

    Args:
        gpu: as it was read.
        own: bytes of it that the box's own programs hold.
    """
    if gpu.memory_free is None or gpu.memory_free + own >= LEAST_MEMORY:
        return None
    why = f"Only {gpu.memory_free >> 20} MB of the GPU's memory are free."
    return Trouble("present", why, "End what uses it (nvidia-smi lists it); restart Earshot.")


class GpuReader:
    """Reads the GPU, in any thread; begins anew after every failure."""

    def __init__(self, *, is_used: bool = True) -> None:
        self._is_used = is_used
        self._lock = threading.Lock()
        self._known: Gpu | None = None

    def read(self) -> Gpu:
        """The GPU as it is now. Never raises: whatever is wrong is the answer."""
        if not self._is_used:
            return Gpu(_OFF.state, _OFF.why)
        with self._lock:
            try:
                if self._known is None:
                    self._known = _open()
                return _measured(self._known)
            except pynvml.NVMLError as error:
                # Its text may ask the library that has just failed; its number is enough.
                found = trouble_of(int(error.value))
                self._close()
                return Gpu(found.state, found.why, found.hint)

    def close(self) -> None:
        """Let go of the library."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._known = None
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _open() -> Gpu:
    """What does not change while the driver runs.

    Raises:
        NVMLError: it cannot be asked.
    """
    pynvml.nvmlInit()
    if not pynvml.nvmlDeviceGetCount():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_NOT_FOUND)
    cuda = _figure(pynvml.nvmlSystemGetCudaDriverVersion_v2)
    return Gpu(
        "present",
        name=str(_figure(pynvml.nvmlDeviceGetName, _handle()) or "NVIDIA GPU"),
        driver=str(_figure(pynvml.nvmlSystemGetDriverVersion) or ""),
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else "",
    )


def _measured(known: Gpu) -> Gpu:
    handle = _handle()
    memory = _figure(pynvml.nvmlDeviceGetMemoryInfo, handle)
    load = _figure(pynvml.nvmlDeviceGetUtilizationRates, handle)
    power = _figure(pynvml.nvmlDeviceGetPowerUsage, handle)
    limit = _figure(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    return replace(
        known,
        temperature_c=_figure(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        load_percent=None if load is None else int(load.gpu),
        power_w=None if power is None else power / 1000,
        power_limit_w=None if limit is None else limit / 1000,
        memory_total=None if memory is None else int(memory.total),
        memory_used=None if memory is None else int(memory.used),
        memory_free=None if memory is None else int(memory.free),
    )


def _handle() -> Any:
    return pynvml.nvmlDeviceGetHandleByIndex(0)


def _figure(ask: Callable[..., Any], *arguments: Any) -> Any:
    """One figure; None where this GPU does not tell it.

    Raises:
        NVMLError: the GPU as a whole cannot be asked.
    """
    try:
        return ask(*arguments)
    except pynvml.NVMLError as error:
        if error.value in _FATAL:
            raise
        return None
