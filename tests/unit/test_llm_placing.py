"""What the language model's program asks of this machine before it loads; the card is a recording."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from typing import Any, Literal

import llama_cpp
import pytest

from appliance import cuda
from appliance.catalogue import Catalogue
from appliance.catalogue.fit import GIB, MIB, Plan, need_of
from appliance.catalogue.placing import Placing
from appliance.catalogue.reading import shape_of_installed
from appliance.errors import ApplianceError
from appliance.setting_groups import AgentSettings, LlmSettings, SttSettings
from appliance.settings import Settings
from services.llm import placing as placing_module
from services.llm.placing import PlacedEngine, placing_of
from tests.fakes_nvml import RTX_4090, FakeNvml, loaded

pytestmark = pytest.mark.unit


def box(folder: Path, **more: Any) -> Settings:
    return Settings.model_validate(
        {"data_dir": folder, "agent": AgentSettings(seats=4), **more}
    )  # fmt: skip


def card(free: int | None) -> FakeNvml:
    answers = dict(RTX_4090)
    if free is None:
        del answers["nvmlDeviceGetMemoryInfo"]
    else:
        answers["nvmlDeviceGetMemoryInfo"] = {"total": 24 * GIB, "used": GIB, "free": free}
    return FakeNvml(answers)


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp as it is when it was compiled for the card."""
    monkeypatch.setattr(cuda, "preload", lambda _names: "")
    monkeypatch.setattr(llama_cpp, "llama_supports_gpu_offload", lambda: True)


class _Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()

    def address_string(self) -> str:
        return "a socket has no address"


@pytest.fixture
def whisper_is_ready(tmp_path: Path) -> Iterator[Settings]:
    settings = box(tmp_path)
    settings.socket("stt").parent.mkdir()
    with UnixStreamServer(str(settings.socket("stt")), _Ready) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield settings
        server.shutdown()
        thread.join()


def need(task: Literal["stt", "llm"], plan: Plan) -> int:
    """Bytes that an embedded model is predicted to take on a card."""
    catalogue = Catalogue(Settings())
    return need_of(
        shape_of_installed(catalogue.installed(task, catalogue.selected(task))), plan
    ).total


def tight() -> int:
    """With what is kept free of it, enough for five conversations in q8_0 and not in f16."""
    return need("llm", Plan("vram", 4096, 5, kv_type="q8_0")) + 280 * MIB


def test_on_a_free_card_everything_lies_there(tmp_path: Path) -> None:
    with loaded(card(20 * GIB)):
        placing = placing_of(box(tmp_path))
    assert (placing.gpu_layers, placing.slots, placing.kv_type) == (-1, 5, "f16")


def test_room_is_left_for_whisper_that_starts_at_the_same_time(
    tmp_path: Path, whisper_is_ready: Settings
) -> None:
    with loaded(card(tight() + need("stt", Plan("vram")))):
        beside = placing_of(whisper_is_ready)
        alone = placing_of(box(tmp_path, stt=SttSettings(device="cpu")))
        before = placing_of(box(tmp_path / "other"))
    assert beside == alone
    assert (beside.slots, beside.kv_type, beside.gpu_layers) == (5, "f16", -1)
    assert (before.slots, before.kv_type, before.gpu_layers) == (5, "q8_0", -1)


def test_no_room_is_kept_for_a_whisper_that_cannot_lie_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def preload(names: tuple[str, ...]) -> str:
        return names[0] if names == cuda.WHISPER else ""

    free = tight() + need("stt", Plan("vram"))
    with loaded(card(free)):
        beside = placing_of(box(tmp_path))
        monkeypatch.setattr(cuda, "preload", preload)
        alone = placing_of(box(tmp_path))
    assert (beside.kv_type, alone.kv_type) == ("q8_0", "f16")


@pytest.mark.parametrize("settings", [{"gpu": "off"}, {"llm": LlmSettings(gpu_layers=0)}])
def test_a_card_that_is_not_wanted_is_not_asked(tmp_path: Path, settings: dict[str, Any]) -> None:
    nvml = card(20 * GIB)
    with loaded(nvml):
        placing = placing_of(box(tmp_path, **settings))
    assert (placing.gpu_layers, placing.slots) == (0, 5)


def test_without_a_card_or_with_another_wheel_it_is_the_processor_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loaded(None):
        assert "no NVIDIA GPU" in placing_of(box(tmp_path)).why
    monkeypatch.setattr(llama_cpp, "llama_supports_gpu_offload", lambda: False)
    with loaded(card(20 * GIB)):
        placing = placing_of(box(tmp_path))
    assert (placing.gpu_layers, placing.slots, placing.flash_attn) == (0, 5, "auto")
    assert "was not compiled for this machine's GPU" in placing.why


def test_a_card_that_is_required_and_cannot_be_used_is_the_reason_not_to_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_cpp, "llama_supports_gpu_offload", lambda: False)
    with loaded(card(20 * GIB)):
        engine = PlacedEngine(box(tmp_path, gpu="required"))
    with pytest.raises(ApplianceError) as caught:
        engine.prepare()
    assert caught.value.code == "llama_without_cuda"
    assert "scripts/setup" in caught.value.hint


def test_a_required_card_is_full_by_others_or_by_whisper(
    whisper_is_ready: Settings, tmp_path: Path
) -> None:
    with loaded(card(400 * MIB)):
        beside = placing_of(whisper_is_ready.model_copy(update={"gpu": "required"}))
        assert (beside.gpu_layers, "no layer fits" in beside.why) == (0, True)
        with pytest.raises(ApplianceError) as caught:
            placing_of(box(tmp_path / "other", gpu="required"))
    assert caught.value.code == "gpu_unusable"
    assert "Only 400 MB" in caught.value.message


@pytest.mark.parametrize("raised", [ImportError("no llama_cpp"), FileNotFoundError("gone")])
def test_whatever_hinders_placing_is_a_reason_and_not_the_programs_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    def look(_settings: Settings) -> Placing:
        raise raised

    monkeypatch.setattr(placing_module, "placing_of", look)
    engine = PlacedEngine(box(tmp_path))
    with pytest.raises(ApplianceError, match=type(raised).__name__) as caught:
        engine.prepare()
    assert caught.value.code == "not_placed"
    assert "logs llm" in caught.value.hint


def test_a_wheel_for_cuda_without_its_libraries_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def find_spec(self, name: str, *_more: object) -> None:
            if name == "llama_cpp":
                raise RuntimeError("Failed to load shared library")

    monkeypatch.setattr(cuda, "preload", lambda names: names[0])
    monkeypatch.delitem(sys.modules, "llama_cpp")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with loaded(card(20 * GIB)), pytest.raises(ApplianceError) as caught:
        placing_of(box(tmp_path))
    assert caught.value.code == "llama_not_loaded"
    assert "libcudart.so.13" in caught.value.message


def test_a_card_that_does_not_tell_its_memory_is_used_as_the_owner_says(tmp_path: Path) -> None:
    with loaded(card(None)):
        assert placing_of(box(tmp_path)).gpu_layers == -1
        some = placing_of(box(tmp_path, llm=LlmSettings(gpu_layers=7)))
    assert (some.gpu_layers, some.slots) == (7, 5)


def test_the_engine_is_made_as_it_was_placed(tmp_path: Path) -> None:
    settings = box(tmp_path, stt=SttSettings(device="cpu"))
    with loaded(card(tight())):
        placing = placing_of(settings)
        engine = PlacedEngine(settings)
    plan = engine._plan
    assert placing.kv_type == "q8_0"
    assert (plan.sequences, plan.kv_type, plan.flash_attn) == (placing.slots, "q8_0", "on")
    assert plan.step_tokens > 64
