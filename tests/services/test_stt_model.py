"""The ear with a model that is absent, damaged or another one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from appliance.settings import PROJECT_DIR
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
