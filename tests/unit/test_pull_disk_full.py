"""A disk that is too full is found before the download, and named when it fills up."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest

from appliance.catalogue import pull
from appliance.catalogue.entries import load_entries
from appliance.catalogue.staging import RESERVE_BYTES
from appliance.errors import ApplianceError
from tests import catalogues as make

pytestmark = pytest.mark.unit

SIZE = 3_000_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    package = {"name": "voice-one", "version": "1.0", "sha256": "0" * 64, "size": SIZE}
    return make.catalogue(
        tmp_path / "models.yaml",
        make.model(
            "voice",
            source={"kind": "package_index", "packages": [package]},
            files=[{"name": "voice.gguf", "role": "model", "size": SIZE, "sha256": "0" * 64, "parts": ["voice-one:x"]}],
        ),
    )  # fmt: skip


def test_one_sentence_says_how_much_is_needed_and_free(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = RESERVE_BYTES + 3 * SIZE - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(9, 9, free))
    with pytest.raises(ApplianceError) as caught:
        pull.fetch_model(load_entries(file)["voice"], tmp_path / "models")
    assert caught.value.code == "disk_full"
    assert "219 MB are needed and 219 MB are free" in caught.value.message
    assert caught.value.message.count(".") <= 2


def test_a_disk_that_fills_up_meanwhile_is_the_same_error(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_space(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("appliance.catalogue.package_index.fetch", no_space)
    monkeypatch.setattr(
        "sys.argv", ["pull", "voice", "--into", str(tmp_path / "models"), "--catalogue", str(file)]
    )
    monkeypatch.setattr("signal.signal", lambda *_arguments: None)
    assert pull.main() == 1
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["code"] == "disk_full"
    assert "No space left" not in said["message"]
