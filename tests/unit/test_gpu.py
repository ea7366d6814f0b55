"""The GPU's figures and every way in which it can fail, with the C library replaced by a recording."""

from __future__ import annotations

import pynvml
import pytest

from appliance.gpu import TROUBLES, Gpu, GpuReader, crowded, unusable
from tests.fakes_nvml import GIB, FakeNvml, loaded

pytestmark = pytest.mark.unit

ERROR_CODES = sorted(
    value
    for name, value in vars(pynvml).items()
    if name.startswith("NVML_ERROR_") and isinstance(value, int)
)
FIGURES = {
    "nvmlDeviceGetTemperature": "temperature_c",
    "nvmlDeviceGetUtilizationRates": "load_percent",
    "nvmlDeviceGetPowerUsage": "power_w",
    "nvmlDeviceGetEnforcedPowerLimit": "power_limit_w",
    "nvmlDeviceGetMemoryInfo": "memory_total",
}


def test_every_figure_of_a_healthy_gpu() -> None:
    with loaded(FakeNvml()):
        gpu = GpuReader().read()
    assert gpu.is_present
    assert (gpu.name, gpu.driver, gpu.cuda) == ("NVIDIA GeForce RTX 4090", "570.133.20", "12.8")
    assert (gpu.temperature_c, gpu.load_percent) == (54, 37)
    assert (gpu.power_w, gpu.power_limit_w) == (187.45, 450.0)
    assert (gpu.memory_total, gpu.memory_used, gpu.memory_free) == (24 * GIB, 9 * GIB, 15 * GIB)


def test_a_machine_without_the_library_is_a_normal_answer() -> None:
    with loaded(None):
        gpu = GpuReader().read()
    assert (gpu.state, gpu.hint) == ("absent", "")
    assert "CPU" in gpu.why


def test_a_driver_without_a_gpu_is_a_normal_answer() -> None:
    with loaded(FakeNvml({"nvmlDeviceGetCount_v2": 0})):
        assert GpuReader().read().state == "absent"


@pytest.mark.parametrize("code", ERROR_CODES)
def test_each_error_at_the_start_is_told_plainly(code: int) -> None:
    library = FakeNvml()
    library.errors["nvmlInitWithFlags"] = code
    with loaded(library):
        gpu = GpuReader().read()
    assert not gpu.is_present
    assert gpu.why.endswith(".")
    assert gpu.hint or gpu.state == "absent"
    assert code in TROUBLES or str(code) in gpu.why
    assert "NVML Error" not in gpu.why


@pytest.mark.parametrize("function", ["nvmlDeviceGetHandleByIndex_v2", *FIGURES])
@pytest.mark.parametrize("code", ERROR_CODES)
def test_each_error_of_each_function_is_survived(function: str, code: int) -> None:
    library = FakeNvml()
    reader = GpuReader()
    with loaded(library):
        assert reader.read().is_present
        library.errors[function] = code
        gpu = reader.read()
        if gpu.is_present:
            assert getattr(gpu, FIGURES[function]) is None
            assert gpu.name
        else:
            assert gpu.why
            assert gpu.memory_total is None
        library.errors.clear()
        back = reader.read()
    assert back.is_present
    assert back.memory_total == 24 * GIB


@pytest.mark.parametrize(
    ("code", "state", "advice"),
    [
        (pynvml.NVML_ERROR_UNKNOWN, "lost", "Restart Earshot's container"),
        (pynvml.NVML_ERROR_GPU_IS_LOST, "lost", "off and on"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "driver_mismatch", "restart the machine"),
    ],
)
def test_a_gpu_lost_while_it_works_says_what_to_do(code: int, state: str, advice: str) -> None:
    library = FakeNvml()
    reader = GpuReader()
    with loaded(library):
        reader.read()
        library.errors["nvmlDeviceGetMemoryInfo"] = code
        gpu = reader.read()
    assert gpu.state == state
    assert advice in gpu.hint
    assert library.initialised == 0


def test_the_library_is_opened_once_and_let_go() -> None:
    library = FakeNvml()
    reader = GpuReader()
    with loaded(library):
        for _ in range(3):
            reader.read()
        assert library.initialised == 1
        reader.close()
        assert library.initialised == 0


def test_a_card_is_too_small_or_crowded_but_not_by_the_box_itself() -> None:
    tiny = unusable(Gpu("present", driver="570.1", memory_total=GIB // 2))
    assert tiny is not None
    assert "only 512 MB of memory" in tiny.why
    full = Gpu("present", driver="570.1", memory_total=8 * GIB, memory_free=GIB // 2)
    assert unusable(full) is None
    assert crowded(full) is not None
    assert crowded(full, own=7 * GIB) is None
