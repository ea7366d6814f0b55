"""libnvidia-ml as the wrapper calls it: a recorded answer per function, any of them an error code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pynvml

GIB = 1 << 30
# nvidia-smi's figures of an RTX 4090 with a model loaded, as the C functions hand them out.
RTX_4090: dict[str, Any] = {
    "nvmlDeviceGetCount_v2": 1,
    "nvmlDeviceGetName": b"NVIDIA GeForce RTX 4090",
    "nvmlSystemGetDriverVersion": b"570.133.20",
    "nvmlSystemGetCudaDriverVersion_v2": 12080,
    "nvmlDeviceGetTemperature": 54,
    "nvmlDeviceGetUtilizationRates": {"gpu": 37, "memory": 12},
    "nvmlDeviceGetPowerUsage": 187_450,
    "nvmlDeviceGetEnforcedPowerLimit": 450_000,
    "nvmlDeviceGetMemoryInfo": {"total": 24 * GIB, "used": 9 * GIB, "free": 15 * GIB},
}
# Of each function, which of its arguments is written to; a text comes before its size.
_OUT = {"nvmlDeviceGetName": -2, "nvmlSystemGetDriverVersion": -2}


class FakeNvml:
    """Answers like the C library that the wrapper has loaded.

    Attributes:
        answers: what each function writes.
        errors: functions that return this code instead.
        initialised: how often it was opened less how often it was closed.
    """

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        self.answers = dict(RTX_4090 if answers is None else answers)
        self.errors: dict[str, int] = {}
        self.initialised = 0

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)
        return lambda *arguments: self._call(name, arguments)

    def _call(self, name: str, arguments: tuple[Any, ...]) -> int:
        if name in self.errors:
            return self.errors[name]
        if name == "nvmlInitWithFlags":
            self.initialised += 1
        elif not self.initialised:
            return int(pynvml.NVML_ERROR_UNINITIALIZED)
        elif name == "nvmlShutdown":
            self.initialised -= 1
        elif name in self.answers:
            _answer(name, arguments, self.answers[name])
        elif not name.startswith("nvmlDeviceGetHandleByIndex"):
            return int(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
        return int(pynvml.NVML_SUCCESS)


def _answer(name: str, arguments: tuple[Any, ...], value: Any) -> None:
    if isinstance(value, tuple):
        for place, part in zip(arguments[-len(value) :], value, strict=True):
            _write(place, part)
    else:
        _write(arguments[_OUT.get(name, -1)], value)


def _write(place: Any, value: Any) -> None:
    target = getattr(place, "_obj", place)
    if isinstance(value, dict):
        for field, figure in value.items():
            setattr(target, field, figure)
    else:
        target.value = value


@contextmanager
def loaded(library: FakeNvml | None) -> Iterator[None]:
    """This library is the machine's; None: the machine has none."""

    def load(_name: str) -> FakeNvml:
        if library is None:
            raise OSError("cannot open shared object file")
        return library

    fakes: dict[str, Any] = {"CDLL": load, "nvmlLib": None, "_nvmlGetFunctionPointer_cache": {}}
    before = {name: getattr(pynvml, name) for name in fakes}
    for name, value in fakes.items():
        setattr(pynvml, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(pynvml, name, value)
