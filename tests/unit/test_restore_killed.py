"""A restore that is killed at any step has either happened or not."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance.backup import swapping
from appliance.backup.restoring import restore
from appliance.backup.swapping import settle, swap
from appliance.errors import ApplianceError
from appliance.starting import settle_restore
from tests.backups import a_box, state_of

pytestmark = pytest.mark.unit


class Killer:
    """Kills this process at the so-many-th change of a file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
        self._left = after
        for owner, name in (
            (Path, "rename"),
            (Path, "unlink"),
            (Path, "mkdir"),
            (Path, "rmdir"),
            (swapping, "write_whole"),
            (swapping, "sync_folder"),
        ):
            monkeypatch.setattr(owner, name, self._deadly(getattr(owner, name)))

    def _deadly(self, whole: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return whole(*given, **named)

        return call


def survives(after: int, job: Callable[[], object]) -> bool:
    """Run the job in a process that is killed after so many changes; whether it came to its end."""
    child = os.fork()
    if child == 0:
        with pytest.MonkeyPatch.context() as patch:
            Killer(patch, after)
            try:
                job()
            finally:
                # Never back into the tests, of which this process is a copy.
                os._exit(3 if sys.exc_info()[0] else 0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.waitstatus_to_exitcode(status) == 0


def test_a_kill_at_any_step_leaves_the_old_state_or_the_new(tmp_path: Path) -> None:
    seen: list[bool] = []
    for step in range(200):
        data = tmp_path / f"data-{step}"
        for folder, word in ((data, "old"), (data / "restore.draft" / "new", "new")):
            (folder / "secrets").mkdir(parents=True)
            (folder / "secrets" / "key").write_text(word)
            (folder / "settings.toml").write_text(word)
        (data / "only-old").write_text("old")
        (data / "restore.draft" / "new" / "only-new").write_text("new")
        selection = data / "selection.json"
        selection.write_text("old")
        old = state_of(data)
        names = ["secrets", "only-old", "only-new", "settings.toml"]
        new = data / "restore.draft" / "new"

        def job() -> object:
            return swap(data, new, names, {selection: "new"}, datetime.now(UTC))  # noqa: B023

        if survives(step, job):
            break
        # What puts it back may be killed too.
        survives(step % 7, lambda: settle(data))  # noqa: B023
        settle(data)
        now = state_of(data)
        seen.append((data / "only-new").exists())
        if seen[-1]:
            assert {name: now[name] for name in ("secrets/key", "settings.toml", "selection.json")} == {
                "secrets/key": b"new", "settings.toml": b"new", "selection.json": b"new",
            }  # fmt: skip
            assert not (data / "only-old").exists()
        else:
            assert now == {name: text for name, text in old.items() if "draft" not in name}
    assert seen == sorted(seen)
    assert seen.count(False) > 10
    assert any(seen)


def test_a_start_puts_back_what_a_killed_restore_set_aside(tmp_path: Path) -> None:
    box = a_box(tmp_path / "data")
    made, before = box.make(), state_of(box.folder)
    (aside := box.folder / "before-restore-20261121T030000Z").mkdir()
    (box.folder / "secrets").rename(aside / "secrets")
    journal = {
        "aside": aside.name, "had": ["secrets", "settings.toml"],
        "names": ["secrets", "settings.toml"], "texts": {},
    }  # fmt: skip
    (box.folder / "restore.json").write_text(json.dumps(journal))
    settle_restore(box.settings)
    assert state_of(box.folder) == before
    # The settings that were read before may be those of the restore.
    aside.mkdir()
    (box.folder / "settings.toml").rename(aside / "settings.toml")
    (box.folder / "settings.toml").write_text("[front]\nhttp_port = 1\n")
    (box.folder / "restore.json").write_text(json.dumps(journal))
    with pytest.raises(ApplianceError, match="Start Earshot again"):
        settle_restore(box.settings)
    assert state_of(box.folder) == before
    settle_restore(box.settings)
    assert made.path.exists()


@pytest.mark.parametrize("after", [2, 8, 25])
def test_a_whole_restore_that_is_killed_is_none(tmp_path: Path, after: int) -> None:
    box = a_box(tmp_path / "data")
    box.talk()
    made = box.make()
    box.talk("said afterwards")
    before = state_of(box.folder)
    assert not survives(after, lambda: restore(box.settings, made.path, box.identities))
    settle(box.folder)
    assert state_of(box.folder) == before
