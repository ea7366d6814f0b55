"""A model with wrong bytes is found before anything is started."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from appliance.catalogue import Catalogue, digests, verify_quick
from appliance.errors import ApplianceError, NotFound
from appliance.settings import Settings
from tests import catalogues as make

pytestmark = pytest.mark.unit

WEIGHTS = b"GGUF" + bytes(1000)


class Counted:
    """The real hashing, counted."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self._real = digests.sha256_of

    def __call__(self, path: Path) -> str:
        self.paths.append(path.name)
        return self._real(path)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr(digests, "sha256_of", counted)
    return counted


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A box that does the language model itself, with one model of known digest."""
    made = make.settings(
        tmp_path, llm={"model": "brain"},
        stt={"url": "http://127.0.0.1:1/v1"}, tts={"url": "http://127.0.0.1:1/v1"},
    )  # fmt: skip
    files = [{"name": "brain.gguf", "role": "model", "sha256": make.sha256(WEIGHTS), "size": 1004}]
    source = {"kind": "hub", "repo": "a/b"}
    file = make.catalogue(
        tmp_path / "models.yaml", make.model("brain", "llm", source=source, files=files)
    )
    monkeypatch.setattr(digests, "Catalogue", lambda settings: Catalogue(settings, file))
    made.run_dir.mkdir(parents=True)
    make.put(made.models_path / "brain", {"brain.gguf": WEIGHTS})
    return made


def test_undamaged_models_are_hashed_once(settings: Settings, hashed: Counted) -> None:
    verify_quick(settings)
    verify_quick(settings)
    assert hashed.paths == ["brain.gguf"]


@pytest.mark.parametrize("same_size", [True, False])
def test_a_damaged_file_is_one_sentence(settings: Settings, same_size: bool) -> None:
    verify_quick(settings)
    path = settings.models_path / "brain" / "brain.gguf"
    path.write_bytes(WEIGHTS[:-1] + b"x" if same_size else WEIGHTS[:-1])
    for _again in range(2):
        with pytest.raises(ApplianceError) as caught:
            verify_quick(settings)
        assert caught.value.code == "model_damaged"
        assert "brain.gguf" in caught.value.message
        assert "models pull brain" in caught.value.hint


def test_a_changed_file_is_hashed_again(settings: Settings, hashed: Counted) -> None:
    path = settings.models_path / "brain" / "brain.gguf"
    verify_quick(settings)
    os.utime(path, ns=(1, 1))
    verify_quick(settings)
    path.rename(path.with_name("old"))
    path.write_bytes(WEIGHTS)
    os.utime(path, ns=(1, 1))
    verify_quick(settings)
    assert hashed.paths == ["brain.gguf"] * 3


def test_a_damaged_cache_only_costs_time(settings: Settings, hashed: Counted) -> None:
    verify_quick(settings)
    cache = settings.run_dir / "digests.json"
    assert json.loads(cache.read_text())
    cache.write_text("{")
    verify_quick(settings)
    assert len(hashed.paths) == 2


def test_a_missing_model_is_named(settings: Settings) -> None:
    (settings.models_path / "brain" / "brain.gguf").unlink()
    with pytest.raises(NotFound, match="'brain' is not installed"):
        verify_quick(settings)


def test_own_models_have_no_digest_to_compare(settings: Settings, hashed: Counted) -> None:
    make.put(settings.models_path, {"own.gguf": b"GGUF"})
    verify_quick(
        settings.model_copy(update={"llm": settings.llm.model_copy(update={"model": "own"})})
    )
    assert hashed.paths == []
