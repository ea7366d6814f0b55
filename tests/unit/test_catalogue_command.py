"""`appliance models`: what people and scripts get."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from appliance import catalogue
from appliance.catalogue import Catalogue, pulling
from appliance.catalogue.pulling import PullEvent
from appliance.cli import build
from appliance.errors import NotFound
from appliance.settings import Settings
from tests import catalogues as make

pytestmark = pytest.mark.unit

VOICE = b"voice" * 100


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    made = make.settings(tmp_path, tts={"voice": "joe"})
    digest = {"sha256": make.sha256(VOICE), "size": len(VOICE)}
    hub = {"kind": "hub", "repo": "a/b", "revision": "d" * 40}
    file = make.catalogue(
        tmp_path / "models.yaml",
        make.model("joe", source=hub, files=[{"name": "joe.onnx", "role": "model", **digest}]),
        make.model(
            "ear", "stt", source=hub, about_mb=484, files=[{"name": "model.bin", "role": "model"}]
        ),
    )
    monkeypatch.setattr("appliance.settings.load_settings", lambda: made)
    monkeypatch.setattr(catalogue, "Catalogue", lambda settings: Catalogue(settings, file))
    return made


def command(*arguments: str) -> Result:
    return CliRunner().invoke(build(), ["models", *arguments])


def test_list_shows_what_is_here_and_what_could_be(settings: Settings) -> None:
    make.put(settings.models_path / "joe", {"joe.onnx": VOICE})
    rows = {row["id"]: row for row in json.loads(command("list", "--json").stdout)["models"]}
    assert rows["joe"]["installed"]
    assert rows["joe"]["selected"]
    assert rows["joe"]["size"] == len(VOICE)
    assert rows["joe"]["about_bytes"] is None
    assert not rows["ear"]["installed"]
    assert (rows["ear"]["size"], rows["ear"]["about_bytes"]) == (None, 484_000_000)
    assert rows["ear"]["digest"] == "pinned at download"
    assert rows["ear"]["source"] == "hub: a/b@dddddddddddd"
    text = command("list").stdout
    assert "pinned at download" in text
    assert "about 480 MB" in text
    assert "MIT" in text
    assert "ear" not in command("list", "--task", "tts").stdout


def test_verify_tells_scripts_by_its_exit_code(settings: Settings) -> None:
    make.put(settings.models_path / "joe", {"joe.onnx": VOICE})
    assert command("verify", "joe").exit_code == 0
    (settings.models_path / "joe" / "joe.onnx").write_bytes(VOICE[::-1])
    damaged = command("verify", "--all")
    assert damaged.exit_code == 1
    assert "DAMAGED joe.onnx" in damaged.stdout
    said = json.loads(command("verify", "joe", "--json").stdout)
    assert said["ok"] is False
    assert said["models"][0]["files"][0]["state"] == "damaged"
    missing = command("verify", "ear").exception
    assert isinstance(missing, NotFound)
    assert missing.exit_code == 2


def test_pull_fetches_into_the_models_folder_unless_it_is_here(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, Path]] = []

    def fake(model_id: str, into: Path) -> Iterator[PullEvent]:
        asked.append((model_id, into))
        yield PullEvent("progress", 1, 2)
        yield PullEvent("done")

    monkeypatch.setattr(pulling, "pull_model", fake)
    make.put(settings.builtin_models_dir / "joe", {"joe.onnx": VOICE})
    assert "already here" in command("pull", "joe").stdout
    assert asked == []
    assert command("pull", "joe", "--into", str(tmp_path / "x")).exit_code == 0
    (settings.builtin_models_dir / "joe" / "joe.onnx").write_bytes(b"damaged")
    assert command("pull", "joe", "ear").exit_code == 0
    assert asked == [
        ("joe", tmp_path / "x"), ("joe", settings.models_path), ("ear", settings.models_path),
    ]  # fmt: skip


def test_pull_without_a_name_or_with_an_unknown_one_fetches_nothing(settings: Settings) -> None:
    for arguments in (["pull"], ["pull", "joe", "other"]):
        error = command(*arguments).exception
        assert getattr(error, "exit_code", None) == 2
