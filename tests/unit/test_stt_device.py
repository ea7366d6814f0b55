"""Where Whisper computes: recorded cards and CTranslate2's answers on them, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import ctranslate2
import pytest

from appliance import cuda
from appliance.catalogue import Catalogue
from appliance.catalogue.fit import GIB, MIB
from appliance.errors import ApplianceError
from appliance.setting_groups import SttSettings
from appliance.settings import Settings
from services.stt import engine
from services.stt.device import Card, Choice, card_of, choose
from services.stt.kept import Kept
from services.stt.whisper import Whisper
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


@pytest.mark.usefixtures("library")
def test_a_card_that_others_have_filled_is_told_or_left_alone() -> None:
    memory = {"total": 24 * GIB, "used": 23 * GIB, "free": GIB // 2}
    with loaded(FakeNvml({**RTX_4090, "nvmlDeviceGetMemoryInfo": memory})):
        found = choose(wish(), TURBO, card_of)
        assert (found.device, "512 MiB" in found.why) == ("cpu", True)
        # Nor does it help that it lay there before.
        assert choose(wish(), TURBO, card_of, "float16").device == "cpu"
        for settings in (wish("required"), wish(device="cuda")):
            with pytest.raises(ApplianceError, match="512 MiB") as caught:
                choose(settings, TURBO, card_of)
            assert caught.value.code == "gpu_unusable"
            assert "End what else uses it" in caught.value.hint


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("gpu", ["auto", "required"])
def test_a_small_model_finds_the_place_again_that_it_had(
    tmp_path: Path, gpu: Literal["auto", "required"]
) -> None:
    # It took less than was predicted, and the language model has planned with the rest.
    small = 75 * MIB
    memory = {"total": 8 * GIB, "used": 7 * GIB, "free": 950 * MIB}
    settings = Settings(data_dir=tmp_path, gpu=gpu)
    settings.run_dir.mkdir()
    kept = Kept(settings, "small", small)
    assert kept.take() == ""
    kept.keep(Choice("cuda", "float16", "there is a card"))
    with loaded(FakeNvml({**RTX_4090, "nvmlDeviceGetMemoryInfo": memory})):
        found = choose(settings, small, card_of, Kept(settings, "small", small).take())
    assert (found.device, found.compute_type) == ("cuda", "float16")


def test_a_place_is_kept_for_one_model_one_wish_and_one_run_of_the_box(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    settings.run_dir.mkdir()
    rendered = settings.run_dir / "supervisord.conf"

    def taken_by(settings: Settings, model_id: str = "small") -> str:
        Kept(Settings(data_dir=tmp_path), "small", 7).keep(Choice("cuda", "float16", "why"))
        return Kept(settings, model_id, 7).take()

    assert taken_by(settings) == "float16"
    # What is being loaded is not kept until it works.
    assert Kept(settings, "small", 7).take() == ""
    assert taken_by(settings, "large") == ""
    stt = SttSettings(compute_type="int8")
    assert taken_by(Settings(data_dir=tmp_path, stt=stt)) == ""
    Kept(settings, "small", 7).keep(Choice("cuda", "float16", "why"))
    rendered.touch()
    assert Kept(settings, "small", 7).take() == ""
    Kept(settings, "small", 7).keep(Choice("cpu", "int8", "why"))
    assert Kept(settings, "small", 7).take() == ""


class FullCard(Whisper):
    """A model that loads on the processor alone."""

    def __init__(self, _folder: Path, *, device: str, compute_type: str, threads: int) -> None:
        self.at = (device, compute_type, threads)
        if device == "cuda":
            raise ApplianceError("model_not_loaded", "CUDA's memory is full.")


@pytest.mark.usefixtures("library")
def test_a_place_that_others_have_taken_is_chosen_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "Whisper", FullCard)
    settings = Settings(data_dir=tmp_path)
    settings.run_dir.mkdir()
    ear = engine.WhisperEngine(settings)
    model = Catalogue(settings).installed("stt", ear.models()[0]).files["model"]
    Kept(settings, ear.models()[0], model.stat().st_size).keep(Choice("cuda", "float16", "why"))
    memory = {"total": 8 * GIB, "used": 7 * GIB, "free": 600 * MIB}
    with loaded(FakeNvml({**RTX_4090, "nvmlDeviceGetMemoryInfo": memory})):
        ear._load()
    assert isinstance(ear._whisper, FullCard)
    assert ear._whisper.at[:2] == ("cpu", "int8")


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
def test_an_old_driver_and_no_card_are_reasons() -> None:
    with loaded(FakeNvml({**RTX_4090, "nvmlSystemGetDriverVersion": b"470.82.01"})):
        assert "525" in card_of(wish()).hint
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
