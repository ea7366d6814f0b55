"""The doctor names copies of the calls that an update has left, and the panel clears half ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.backup.making import clear_drafts
from appliance.checks import run_check
from appliance.settings import Settings

pytestmark = pytest.mark.unit
KEPT, DRAFT, ASIDE = "before-update.db", ".before-update.db", "after-update.db"


@pytest.mark.parametrize("names", [[], [KEPT], [DRAFT], [ASIDE], [KEPT, DRAFT, ASIDE]])
def test_each_is_named_with_what_to_do(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"words")
    found = run_check(Settings(data_dir=tmp_path), "update_copies").finding
    assert found.state == ("warn" if names else "ok")
    for name in (KEPT, DRAFT, ASIDE):
        assert (f"{tmp_path / name}" in found.message) is (name in names)
    assert ("database drop" in found.hint) is bool({KEPT, DRAFT} & {*names})
    assert (f"`rm {tmp_path / ASIDE}*`" in found.hint) is (ASIDE in names)


def test_half_a_copy_goes_when_the_box_starts_and_a_whole_one_stays(tmp_path: Path) -> None:
    for name in (KEPT, DRAFT, f"{DRAFT}-journal", ASIDE):
        (tmp_path / name).write_bytes(b"words")
    clear_drafts(Settings(data_dir=tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [ASIDE, KEPT]
