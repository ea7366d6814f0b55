"""`scripts/appliance backup`, as somebody types it: key, create, list, and a restore on a new box."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from appliance.backup.keys import new_key
from appliance.cli import build
from appliance.errors import ApplianceError
from appliance.settings import Settings
from appliance.store import open_store
from tests.backups import KeptBox, a_box
from tests.canary import files_with

pytestmark = pytest.mark.unit


class Said(NamedTuple):
    """How a command ended and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def command(data: Path, *given: str, stdin: str = "") -> Said:
    """Run `scripts/appliance` with this data folder, without a process of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("APPLIANCE_DATA_DIR", str(data))
        done = CliRunner().invoke(build(), given, input=stdin)
    if isinstance(done.exception, ApplianceError):
        return Said(done.exception.exit_code, done.stdout, str(done.exception))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return Said(done.exit_code, done.stdout, done.stderr)


def test_from_the_key_to_another_box(tmp_path: Path) -> None:
    data = tmp_path / "data"
    refused = command(data, "backup", "create")
    assert refused.returncode == 1
    assert "`scripts/appliance backup key` makes one" in refused.stderr
    made = command(data, "backup", "key")
    assert made.returncode == 0, made.stderr
    identity = re.search(r"^AGE-SECRET-KEY-1\w+$", made.stdout, flags=re.MULTILINE)
    assert identity
    assert files_with(identity[0], data) == []
    again = command(data, "backup", "key")
    assert again.returncode == 1
    assert "--another" in again.stderr
    box = KeptBox(Settings(data_dir=data), new_key())
    call = box.talk("what was said")
    created = command(data, "backup", "create")
    assert created.returncode == 0, created.stderr
    (name,) = re.findall(r"earshot-\w+\.age", created.stdout)
    listed = json.loads(command(data, "backup", "list", "--check", "--json").stdout)
    assert [(one["name"], one["state"], one["calls"]) for one in listed["backups"]] == [
        (name, "whole", 1)
    ]
    new = tmp_path / "new"
    restored = command(
        new, "backup", "restore", str(data / "backups" / name), "--identity", "-", stdin=identity[0]
    )
    assert restored.returncode == 0, restored.stderr
    assert "1 call with words" in restored.stdout
    store = open_store(Settings(data_dir=new))
    assert [turn.user_text for turn in store.turns.list(call.id)] == ["what was said"]
    store.close()


def test_deleted_calls_are_told_and_replaced(tmp_path: Path) -> None:
    box = a_box(tmp_path / "data")
    box.talk()
    old = box.make()
    deleted = command(box.folder, "sessions", "delete", "--all", "--yes")
    assert "1 backup holds words of deleted calls, until 20" in deleted.stdout
    assert (
        "holds the words of 1 deleted call until 20" in command(box.folder, "backup", "list").stdout
    )
    replaced = command(box.folder, "backup", "create", "--replace")
    assert "Deleted 1 that held words of deleted calls." in replaced.stdout
    assert not old.path.exists()
    assert "deleted call" not in command(box.folder, "backup", "list").stdout


def test_a_damaged_one_is_seen_and_deleted(tmp_path: Path) -> None:
    box = a_box(tmp_path / "data")
    made = box.make()
    made.path.write_bytes(b"x" * made.size)
    checked = command(box.folder, "backup", "list", "--check")
    assert checked.returncode == 1
    assert "damaged" in checked.stdout
    assert command(box.folder, "backup", "delete", made.name, "--yes").returncode == 0
    assert "There are no backups yet." in command(box.folder, "backup", "list").stdout


def test_a_wrong_key_is_one_sentence(tmp_path: Path) -> None:
    box = a_box(tmp_path / "data")
    made = box.make()
    key = tmp_path / "key.txt"
    key.write_text(new_key().identity)
    for identity, said in ((key, "does not open"), (tmp_path / "none", "cannot be read")):
        refused = command(
            tmp_path / "new", "backup", "restore", str(made.path), "--identity", str(identity)
        )
        assert refused.returncode == 2
        assert said in refused.stderr
        assert "Traceback" not in refused.stderr
    assert not (tmp_path / "new").exists()
