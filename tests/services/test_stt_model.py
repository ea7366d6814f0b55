"""The ear with a model that is absent, damaged or another one."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
from tokenizers import Tokenizer

from appliance.settings import PROJECT_DIR
from services.stt.rules import CONTEXT_TOKENS
from services.stt.steps import Steps, Writing
from services.stt.turnstile import Request, Turnstile
from tests.services.asking import JFK, ask, heard, refusal, words_of
from tests.services.conftest import ServiceFactory

pytestmark = pytest.mark.services

TINY = PROJECT_DIR / ".cache" / "models" / "whisper-tiny.en"


def test_a_missing_model_is_a_reason_not_an_end(service: ServiceFactory) -> None:
    ear = service("stt", env={"APPLIANCE_STT__MODEL": "whisper-gigantic"}, ready=False)
    answer = ear.readiness()
    assert answer["state"] == "failed"
    assert "whisper-gigantic" in str(answer["why"])
    assert ear.client.get("/healthz").status_code == 200
    assert refusal(ask(ear, JFK)) == (503, "not_ready")


def test_damaged_weights_are_noticed_by_the_sample(service: ServiceFactory, tmp_path: Path) -> None:
    folder = tmp_path / "whisper-tiny.en"
    shutil.copytree(TINY, folder)
    weights = folder / "model.bin"
    raw = np.fromfile(weights, np.uint8)
    # All within one large tensor: the names and shapes around it stay, and the file still loads.
    places = np.random.default_rng(3).integers(5_000_000, 35_000_000, 3_000_000)
    raw[places] = 127
    raw.tofile(weights)
    ear = service(
        "stt",
        env={"APPLIANCE_STT__MODEL": "whisper-tiny.en", "APPLIANCE_MODELS_DIR": str(tmp_path)},
        ready=False,
    )
    answer = ear.readiness()
    assert answer["state"] == "failed"
    assert "does not hear what is said" in str(answer["why"])
    assert "models verify" in str(answer["why"])


def test_weights_that_cannot_be_loaded_are_a_reason(
    service: ServiceFactory, tmp_path: Path
) -> None:
    folder = tmp_path / "whisper-tiny.en"
    shutil.copytree(TINY, folder)
    with (folder / "model.bin").open("r+b") as weights:
        weights.truncate(1_000_000)
    ear = service(
        "stt",
        env={"APPLIANCE_STT__MODEL": "whisper-tiny.en", "APPLIANCE_MODELS_DIR": str(tmp_path)},
        ready=False,
    )
    answer = ear.readiness()
    assert answer["state"] == "failed"
    assert "models verify" in str(answer["why"])


def test_an_english_model_refuses_other_languages(service: ServiceFactory) -> None:
    ear = service("stt", env={"WHISPER_MODEL": "whisper-tiny.en"})
    assert "fellow americans" in words_of(heard(ear, JFK))
    assert refusal(ask(ear, JFK, language="de")) == (400, "language_not_supported")
    assert refusal(ask(ear, JFK, model="whisper-base")) == (404, "model_not_found")


class Endless:
    """A model that never ends by itself."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, *what: Any, **how: Any) -> Any:
        how["suppress_tokens"] = [*how["suppress_tokens"], *_marks("<|endoftext|>")]
        return self._model.generate(*what, **how)


def _marks(*names: str) -> list[int]:
    tokenizer: Any = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    return [tokenizer.token_to_id(name) for name in names]


@pytest.mark.parametrize(
    ("before", "most"), [(0, 32), (0, 48), (0, 224), (0, 445), (200, 48), (200, 244)]
)
def test_as_many_tokens_are_written_as_were_asked_for(before: int, most: int) -> None:
    model = ctranslate2.models.Whisper(str(TINY), device="cpu", compute_type="int8")
    turnstile = Turnstile()
    steps = Steps(Endless(model), turnstile)
    start = _marks("<|startoftranscript|>", "<|notimestamps|>")
    prompt = [*_marks("<|startofprev|>"), *[11] * before, *start] if before else start
    assert len(prompt) + most + 1 <= CONTEXT_TOKENS
    request = Request(turnstile, 0, threading.Event())
    encoded = steps.encode(request, np.zeros((80, 800), np.float32))
    result = steps.write(request, Writing(encoded, prompt, most, 0.0), 800)
    assert result is not None
    assert len(result.sequences_ids[0]) == most
