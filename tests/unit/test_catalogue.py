"""What is known, what is here, and what serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.catalogue import Catalogue
from appliance.catalogue.entries import CATALOGUE_FILE, Task, load_entries
from appliance.catalogue.selection import (
    Selection,
    Switch,
    SwitchState,
    read_selection,
    selection_file,
    write_selection,
)
from appliance.errors import ApplianceError, BadSettings, NotFound
from appliance.settings import Settings
from tests import catalogues as make

pytestmark = pytest.mark.unit

WHISPER = {"model.bin": b"m", "config.json": b"{}", "tokenizer.json": b"{}", "vocabulary.txt": b"v"}
VOICE = {"joe.onnx": b"voice", "joe.onnx.json": b"{}"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make.settings(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    hub = {"kind": "hub", "repo": "a/b"}
    roles = {"model.bin": "model", "config.json": "config", "tokenizer.json": "tokenizer"}
    ear = [{"name": name, "role": role} for name, role in roles.items()]
    voice = [
        {"name": "joe.onnx", "role": "model", "sha256": make.sha256(b"voice"), "size": 5},
        {"name": "joe.onnx.json", "role": "config", "sha256": make.sha256(b"{}"), "size": 2},
    ]
    return make.catalogue(
        tmp_path / "models.yaml",
        make.model("ear", "stt", source=hub, files=ear),
        make.model("joe", source=hub, files=voice),
    )


def test_the_box_s_own_catalogue_has_the_embedded_models_with_every_digest() -> None:
    entries = load_entries(CATALOGUE_FILE)
    embedded = [entry for entry in entries.values() if entry.embedded]
    assert {entry.id for entry in embedded} == {
        "whisper-tiny.en", "whisper-base", "smollm2-135m-instruct", "en_US-joe-medium",
    }  # fmt: skip
    assert all(entry.pinned == "sha256" and entry.size for entry in embedded)
    unsized = {name for name, entry in entries.items() if not (entry.size or entry.about_bytes)}
    assert unsized == {"gemma-4-e4b-it-qat-q4_0"}
    assert {entries[name].pinned for name in ("whisper-large-v3", "en_GB-jenny_dioco-medium")} == {
        "pinned at download"
    }


def test_the_default_settings_name_embedded_models() -> None:
    settings = Settings()
    entries = load_entries(CATALOGUE_FILE)
    names = settings.stt.model, settings.llm.model, settings.tts.voice
    assert [entries[name].task for name in names] == ["stt", "llm", "tts"]
    assert all(entries[name].embedded for name in names)


def test_files_are_given_by_role_from_the_pulled_before_the_embedded(
    settings: Settings, file: Path
) -> None:
    make.put(settings.builtin_models_dir / "joe", VOICE)
    catalogue = Catalogue(settings, file)
    assert catalogue.installed("tts", "joe").folder == settings.builtin_models_dir / "joe"
    make.put(settings.models_path / "joe", VOICE)
    found = catalogue.installed("tts", "joe")
    assert found.files["model"] == settings.models_path / "joe" / "joe.onnx"
    assert found.files["config"].is_file()
    assert found.entry.licence == "MIT"


def test_a_missing_model_says_how_to_get_it(settings: Settings, file: Path) -> None:
    make.put(settings.models_path / "joe", {"joe.onnx": b"voice"})
    with pytest.raises(NotFound) as caught:
        Catalogue(settings, file).installed("tts", "joe")
    assert caught.value.code == "model_missing"
    assert "models pull joe" in caught.value.hint


def test_a_model_for_another_task_is_refused(settings: Settings, file: Path) -> None:
    make.put(settings.models_path / "joe", VOICE)
    with pytest.raises(NotFound, match="is a model for tts, not stt"):
        Catalogue(settings, file).installed("stt", "joe")


@pytest.mark.parametrize("model_id", ["../secrets", "/etc/passwd", "joe/../joe", "", "a\0b"])
def test_an_id_is_never_a_path(settings: Settings, file: Path, model_id: str) -> None:
    make.put(settings.models_path / "joe", VOICE)
    make.put(settings.data_dir / "secrets", WHISPER)
    with pytest.raises(NotFound):
        Catalogue(settings, file).installed("tts", model_id)


def test_a_link_out_of_the_folder_and_a_pipe_are_no_model(
    settings: Settings, file: Path, tmp_path: Path
) -> None:
    import os

    make.put(settings.models_path, {"x": b""})
    make.put(tmp_path, {"outside.gguf": b"GGUF"})
    (settings.models_path / "linked.gguf").symlink_to(tmp_path / "outside.gguf")
    os.mkfifo(settings.models_path / "pipe.gguf")
    assert [row.id for row in Catalogue(settings, file).list() if row.source == "own files"] == []


def test_own_files_are_found_by_their_shape(settings: Settings, file: Path) -> None:
    root = settings.models_path
    make.put(root, {"tiny-llama.Q4.gguf": b"GGUF", "lennox.onnx": b"v", "lennox.onnx.json": b"{}"})
    make.put(root, {"alone.onnx": b"no json", ".hidden.gguf": b"GGUF", "ümlaut.gguf": b"GGUF"})
    make.put(root / "my-ear", WHISPER)
    make.put(root / "half-ear", {"model.bin": b"m"})
    make.put(root / "mine", {"deep.gguf": b"GGUF"})
    make.put(root / ".pull" / "ear", {"growing.gguf": b"GGUF"})
    catalogue = Catalogue(settings, file)
    own = {row.id: row.task for row in catalogue.list() if row.source == "own files"}
    assert own == {"tiny-llama.Q4": "llm", "lennox": "tts", "my-ear": "stt", "deep": "llm"}
    assert catalogue.installed("stt", "my-ear").files["vocabulary"].name == "vocabulary.txt"
    assert catalogue.installed("llm", "deep").files["model"] == root / "mine" / "deep.gguf"
    assert {row.digest for row in catalogue.list() if row.source == "own files"} == {"own"}


def test_the_selection_is_the_last_switch_s_else_the_settings(tmp_path: Path, file: Path) -> None:
    settings = make.settings(tmp_path, tts={"voice": "joe"})
    catalogue = Catalogue(settings, file)
    assert catalogue.selected("tts") == "joe"
    switch = Switch(task="tts", to="lennox", state="draining")
    written = Selection(current={"tts": "lennox"}, last_good={"tts": "joe"}, switch=switch)
    write_selection(settings, written)
    assert catalogue.selected("tts") == "lennox"
    assert catalogue.selected("stt") == settings.stt.model
    assert read_selection(settings) == written
    kept = json.loads(selection_file(settings).read_text())
    assert (kept["current"], kept["last_good"]) == ({"tts": "lennox"}, {"tts": "joe"})
    assert {"task": "tts", "to": "lennox", "state": "draining"}.items() <= kept["switch"].items()


@pytest.mark.parametrize(
    ("state", "loaded"),
    [
        ("checking", "joe"), ("draining", "joe"), ("stopping", "joe"), ("starting", "lennox"),
        ("canary", "lennox"), ("rolled_back", "joe"),
    ],
)  # fmt: skip
def test_a_service_loads_the_new_model_only_while_it_is_tried(
    state: SwitchState, loaded: str, tmp_path: Path, file: Path
) -> None:
    settings = make.settings(tmp_path)
    switch = Switch(task="tts", to="lennox", state=state)
    good: dict[Task, str] = {"tts": "joe"}
    write_selection(settings, Selection(current=good, last_good=good, switch=switch))
    assert Catalogue(settings, file).selected("tts") == loaded
    assert Catalogue(settings, file).selected("llm") == settings.llm.model


def test_a_selection_that_cannot_be_read_is_one_sentence(settings: Settings) -> None:
    make.put(settings.models_path, {"selection.json": b'{"current": {"tts": "../x"}}'})
    with pytest.raises(ApplianceError) as caught:
        read_selection(settings)
    assert caught.value.code == "selection_unreadable"


def test_a_writer_that_dies_leaves_the_old_selection(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_selection(settings, Selection(current={"tts": "joe"}))

    def die(_descriptor: int) -> None:
        raise OSError("power")

    monkeypatch.setattr("os.fsync", die)
    with pytest.raises(OSError, match="power"):
        write_selection(settings, Selection(current={"tts": "lennox"}))
    assert read_selection(settings).current == {"tts": "joe"}
    assert [path.name for path in settings.models_path.iterdir()] == ["selection.json"]


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"id": "../x"}, "id"),
    ({"task": "dance"}, "task"),
    ({"colour": "red"}, "colour"),
    ({"files": [{"name": "a/b", "role": "model"}]}, "name"),
    ({"files": [{"name": "a", "role": "model", "sha256": "abc"}]}, "sha256"),
    ({"files": [{"name": "a", "role": "model"}] * 2}, "two files"),
    ({"source": {"kind": "hub", "repo": "a/b", "revision": "main"}}, "revision"),
]


@pytest.mark.parametrize(("change", "named"), BROKEN)
def test_a_broken_catalogue_names_the_place(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    good = make.model("x", files=[{"name": "a", "role": "model"}])
    with pytest.raises(BadSettings, match=named):
        load_entries(make.catalogue(tmp_path / "models.yaml", {**good, **change}))


def test_a_file_of_a_package_without_a_digest_is_refused(tmp_path: Path) -> None:
    package = {"name": "p", "version": "1.0", "sha256": "0" * 64, "size": 1}
    row = make.model(
        "x", source={"kind": "package_index", "packages": [package]},
        files=[{"name": "a", "role": "model"}],
    )  # fmt: skip
    with pytest.raises(BadSettings, match="needs size, sha256 and parts"):
        load_entries(make.catalogue(tmp_path / "models.yaml", row))
