"""The database's copy around an update: `appliance database keep`, `put-back`, `drop`."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from appliance.cli import build
from appliance.errors import ApplianceError, Refused
from appliance.settings import Settings
from appliance.store import Store, keeping, upgrade
from tests import catalogues as make

pytestmark = pytest.mark.unit


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    made = make.settings(tmp_path)
    made.data_dir.mkdir(mode=0o700)
    monkeypatch.setattr("appliance.settings.load_settings", lambda: made)
    return made


def command(*arguments: str) -> Result:
    return CliRunner().invoke(build(), ["database", *arguments])


def a_call(settings: Settings, said: str) -> None:
    upgrade(settings.store_url)
    store = Store(settings.store_url)
    call = store.sessions.create(persona="default", keep_transcript=True)
    index = store.turns.begin(call.id, said)
    store.turns.finish(call.id, index, "Yes.", interrupted=False, ms={})


def said(settings: Settings) -> set[str]:
    store = Store(settings.store_url)
    return {
        turn.user_text or "" for row in store.sessions.list() for turn in store.turns.list(row.id)
    }


def test_the_way_back_brings_what_was_there_and_nothing_newer(settings: Settings) -> None:
    a_call(settings, "before")
    assert command("keep").stdout == "kept: the database is copied\n"
    copy = settings.data_dir / keeping.KEPT_NAME
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    a_call(settings, "after")
    assert said(settings) == {"before", "after"}
    assert command("put-back").exit_code == 0
    assert said(settings) == {"before"}
    # Nothing that a purge would not find stays behind.
    assert not copy.exists()


def test_after_an_update_the_copy_goes(settings: Settings) -> None:
    a_call(settings, "before")
    command("keep")
    # As a copy that was cut off leaves it.
    (settings.data_dir / f".{keeping.KEPT_NAME}").write_bytes(b"half")
    command("drop")
    assert not list(settings.data_dir.glob("*before-update*"))
    assert said(settings) == {"before"}


def test_a_way_back_that_was_gone_already_may_be_gone_again(settings: Settings) -> None:
    a_call(settings, "before")
    command("keep")
    for _ in range(2):
        assert command("put-back", "--aside").exit_code == 0
        assert said(settings) == {"before"}


@pytest.mark.parametrize("moved", ["", "appliance.db"])
def test_what_the_newer_version_wrote_is_set_aside(settings: Settings, moved: str) -> None:
    a_call(settings, "before")
    command("keep")
    a_call(settings, "after")
    aside = settings.data_dir / keeping.ASIDE_NAME
    if moved:
        # As it is after a cut-off in the middle.
        (settings.data_dir / moved).rename(aside)
    told = command("put-back", "--aside").stdout
    assert str(aside) in told
    assert said(settings) == {"before"}
    settings.database_url = SecretStr(f"sqlite:///{aside}")
    assert said(settings) == {"before", "after"}


def test_a_box_that_never_ran_has_nothing_to_keep(settings: Settings) -> None:
    assert command("keep").stdout == "nothing: there is no database yet\n"
    assert not (settings.data_dir / "appliance.db").exists()
    assert command("kind").stdout == "file\n"


def test_what_was_set_aside_before_is_not_overwritten(settings: Settings) -> None:
    for _ in range(3):
        a_call(settings, "newer")
        command("keep")
        assert command("put-back", "--aside").exit_code == 0
    asides = sorted(settings.data_dir.glob(f"{keeping.ASIDE_NAME}*"))
    assert {path.name.removesuffix("-wal") for path in asides} == {
        keeping.ASIDE_NAME, f"{keeping.ASIDE_NAME}.1", f"{keeping.ASIDE_NAME}.2",
    }  # fmt: skip


@pytest.mark.parametrize("noun", ["keep", "put-back"])
def test_a_box_that_runs_is_left_alone(settings: Settings, noun: str) -> None:
    a_call(settings, "before")
    command("keep")
    with keeping.box_down(settings.data_dir):
        refused = command(noun).exception
    assert isinstance(refused, Refused)
    assert refused.code == "box_runs"


def test_a_damaged_copy_is_not_put_back(settings: Settings) -> None:
    a_call(settings, "before")
    command("keep")
    copy = settings.data_dir / keeping.KEPT_NAME
    copy.write_bytes(b"no database at all" * 500)
    refused = command("put-back").exception
    assert isinstance(refused, ApplianceError)
    assert refused.code == "database_not_put_back"
    assert said(settings) == {"before"}
    assert copy.exists()


def test_a_server_is_not_copied_and_the_way_round_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {**settings.model_dump(), "database_url": "postgresql+psycopg://a@b/c"}
    other = Settings.model_validate(values)
    monkeypatch.setattr("appliance.settings.load_settings", lambda: other)
    assert command("kind").stdout == "server\n"
    refused = command("keep").exception
    assert isinstance(refused, Refused)
    assert "--without-copy" in refused.hint
