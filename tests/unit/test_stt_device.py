"""Where Whisper computes: recorded cards and CTranslate2's answers on them, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import ctranslate2
import pytest

from appliance import cuda
from appliance.catalogue.fit import GIB, MIB
from appliance.errors import ApplianceError
from appliance.setting_groups import SttSettings
from appliance.settings import Settings
from services.stt.device import Card, Choice, card_of, choose
from tests.fakes_nvml import RTX_4090, FakeNvml, loaded

pytestmark = pytest.mark.unit

TURBO = int(1.51 * GIB)
# What CTranslate2 has by the chip's generation, as its source decides it.
PASCAL = frozenset({"float32", "int8", "int8_float32"})
TURING = frozenset({"float32", "int8", "int8_float32", "float16", "int8_float16"})
AMPERE = TURING | {"bfloat16", "int8_bfloat16"}


def wish(gpu: Literal["auto", "required", "off"] = "auto", **stt: Any) -> Settings:
    return Settings(data_dir=Path("/nowhere"), gpu=gpu, stt=SttSettings(**stt))


def chosen(settings: Settings, card: Card) -> tuple[str, str]:
    found = choose(settings, TURBO, lambda _settings: card)
    assert found.why
    return found.device, found.compute_type


@pytest.mark.parametrize(
    ("computes", "free", "expected"),
    [
        (AMPERE, 20 * GIB, "float16"),
        (TURING, 8 * GIB, "float16"),
        (AMPERE, None, "float16"),
        (AMPERE, int(2.4 * GIB), "int8_float16"),
        (PASCAL, 8 * GIB, "int8_float32"),
        (PASCAL, int(2.4 * GIB), "int8_float32"),
        (frozenset({"float32"}), 8 * GIB, "float32"),
    ],
)
def test_the_card_decides_in_what_is_computed(
    computes: frozenset[str], free: int | None, expected: str
) -> None:
    assert chosen(wish(), Card(free=free, computes=computes)) == ("cuda", expected)


@pytest.mark.parametrize("settings", [wish("off"), wish(device="cpu"), wish("off", device="cuda")])
def test_a_card_that_is_not_wanted_is_not_even_looked_at(settings: Settings) -> None:
    def look(_settings: Settings) -> Card:
        raise AssertionError("CUDA's libraries would be loaded.")

    found = choose(settings, TURBO, look)
    assert (found.device, found.compute_type) == ("cpu", "int8")


def test_without_a_card_it_is_the_processor_and_the_reason_is_kept() -> None:
    found = choose(wish(), TURBO, lambda _settings: Card("No GPU."))
    assert found == Choice("cpu", "int8", "No GPU.")
    assert chosen(wish(compute_type="float32"), Card("No GPU.")) == ("cpu", "float32")


@pytest.mark.parametrize("settings", [wish("required"), wish(device="cuda")])
def test_a_card_that_is_asked_for_and_missing_is_told(settings: Settings) -> None:
    card = Card("libcublas.so.12 is not there.", "Run scripts/setup.")
    with pytest.raises(ApplianceError) as caught:
        chosen(settings, card)
    assert caught.value.code == "gpu_unusable"
    assert "libcublas.so.12" in caught.value.message
    assert "scripts/setup" in caught.value.hint


def test_a_card_without_room_is_used_only_if_it_must_be() -> None:
    full = Card(free=1200 * MIB, computes=AMPERE)
    assert chosen(wish(), full) == ("cpu", "int8")
    assert "1.2 GiB" in choose(wish(), TURBO, lambda _settings: full).why
    assert chosen(wish("required"), full) == ("cuda", "int8_float16")


def test_the_owners_compute_type_is_kept_or_refused_by_name() -> None:
    card = Card(free=20 * GIB, computes=TURING)
    assert chosen(wish(compute_type="int8_float16"), card) == ("cuda", "int8_float16")
    with pytest.raises(ApplianceError) as caught:
        chosen(wish(compute_type="bfloat16"), card)
    assert caught.value.code == "compute_type_unsupported"
    assert "bfloat16" in caught.value.message


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """CTranslate2 on a machine with one card."""
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", lambda _device: set(AMPERE))
    monkeypatch.setattr(cuda, "preload", lambda _names: "")


@pytest.mark.usefixtures("library")
def test_a_card_is_read_with_what_ctranslate2_has_on_it() -> None:
    nvml = FakeNvml()
    with loaded(nvml):
        card = card_of(wish())
    assert card == Card(free=15 * GIB, computes=AMPERE)
    assert nvml.initialised == 0


@pytest.mark.usefixtures("library")
def test_an_old_driver_a_full_card_and_no_card_are_reasons() -> None:
    old = {**RTX_4090, "nvmlSystemGetDriverVersion": b"470.82.01"}
    full = {
        **RTX_4090,
        "nvmlDeviceGetMemoryInfo": {"total": 24 * GIB, "used": 23 * GIB, "free": GIB // 2},
    }
    for answers, said in ((old, "525"), (full, "512 MB")):
        with loaded(FakeNvml(answers)):
            card = card_of(wish())
            assert said in card.why_not + card.hint
    with loaded(None):
        assert "no NVIDIA GPU" in card_of(wish()).why_not
    with loaded(FakeNvml()):
        assert "off" in card_of(wish("off")).why_not


@pytest.mark.usefixtures("library")
def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "preload", lambda names: names[-1])
    with loaded(FakeNvml()):
        assert card_of(wish()).why_not == "CUDA's library libcublas.so.12 is not there."
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 0)
    with loaded(FakeNvml()):
        assert "finds no card" in card_of(wish()).why_not
