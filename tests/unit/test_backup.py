"""Backups are whole, sealed for the owner alone, and as many as are kept."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import shutil
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pyrage import decrypt

from appliance.backup import making
from appliance.backup.keys import identities_in, new_key, recipient_of
from appliance.backup.looking import look, replace_marked
from appliance.backup.making import UnderWay, check_all, clear_drafts, make
from appliance.backup.nights import is_due
from appliance.backup.shelf import Shelf
from appliance.checks import backups
from appliance.errors import ApplianceError, BadInput, BadSettings, NotFound, Refused
from appliance.settings import Settings
from tests.backups import KeptBox, a_box
from tests.canary import files_with

pytestmark = pytest.mark.unit
CANARY = "canary-" + "b" * 40


@pytest.fixture
def box(tmp_path: Path) -> KeptBox:
    """A box with a call."""
    box = a_box(tmp_path / "data")
    box.talk(f"{CANARY}?", f"{CANARY}!")
    return box


def tar_of(box: KeptBox, path: Path) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(decrypt(path.read_bytes(), box.identities)))


def test_it_holds_what_cannot_be_made_again_and_only_for_the_owner(box: KeptBox) -> None:
    made = box.make()
    with tar_of(box, made.path) as archive:
        names = set(archive.getnames())
    assert names == {
        "manifest.json", "models.json", "settings.toml", "appliance.db", "personas/anna.yaml",
        "tls/root.crt", "secrets/livekit_api_key", "secrets/livekit_api_secret",
        "secrets/local_token",
    }  # fmt: skip
    assert files_with(CANARY, box.folder / "backups") == []
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert (box.folder / "backups").stat().st_mode & 0o777 == 0o700
    secret = (box.folder / "secrets" / "local_token").read_text()
    for path in (box.folder / "backups").iterdir():
        assert secret.encode() not in path.read_bytes()
        assert box.key.identity.encode() not in path.read_bytes()
    assert not (box.folder / "backup.draft").exists()


def test_what_the_front_door_makes_anew_is_left_out(box: KeptBox) -> None:
    leaf = box.folder / "tls" / "caddy" / "certificates" / "localhost.key"
    leaf.parent.mkdir(parents=True)
    leaf.write_text("a key")
    deep = box.folder.joinpath("personas", *"abcdef", "anna.yaml")
    deep.parent.mkdir(parents=True)
    deep.write_text("name: deep")
    (box.folder / "personas" / "link.yaml").symlink_to("/etc/passwd")
    made = box.make()
    with tar_of(box, made.path) as archive:
        names = [name for name in archive.getnames() if name.startswith(("tls", "personas"))]
    assert names == ["tls/root.crt", "personas/anna.yaml"]


def test_its_digest_is_known_and_its_damage_seen(box: KeptBox) -> None:
    made = box.make()
    assert made.card is not None
    assert made.card.sha256 == hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert [one.state for one in check_all(box.settings)] == ["whole"]
    content = bytearray(made.path.read_bytes())
    content[-1] ^= 1
    made.path.write_bytes(content)
    assert [one.state for one in check_all(box.settings)] == ["damaged"]
    made.path.write_bytes(content[:-1])
    (cut,) = Shelf(box.settings).all()
    assert cut.state == "damaged"


def test_deleted_calls_are_counted_until_the_backup_goes(box: KeptBox) -> None:
    other = box.talk()
    box.make()
    now = datetime.now(UTC)
    store = box.store()
    (before,) = look(box.settings, store, now).backups
    assert (before.calls, before.holding.calls, before.marked) == (2, 0, "")
    store.calls.delete(other.id)
    (after,) = look(box.settings, store, now).backups
    due = look(box.settings, store, now).due
    assert due is not None
    assert after.holding.calls == 1
    assert after.holding.until == due + timedelta(days=13)
    last = after.holding.until.astimezone().strftime("%Y-%m-%d")
    assert f"holds the words of 1 deleted call until {last}" in after.said
    made, gone = replace_marked(box.settings, store)
    assert gone == [after.name]
    (left,) = look(box.settings, store, now).backups
    assert (left.name, left.calls, left.holding.calls) == (made.name, 1, 0)
    store.close()


def test_a_backup_that_fails_replaces_none(box: KeptBox, monkeypatch: pytest.MonkeyPatch) -> None:
    made = box.make()
    store = box.store()
    store.calls.delete_ended()
    monkeypatch.setattr(making, "LEAST_FREE_MB", 10**9)
    with pytest.raises(ApplianceError, match="too little space"):
        replace_marked(box.settings, store)
    store.close()
    assert [one.name for one in Shelf(box.settings).all()] == [made.name]


def test_one_that_does_not_read_back_is_not_there(
    box: KeptBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as failing:
        failing.setattr(making, "digest_of", lambda _path: "other")
        with pytest.raises(ApplianceError, match="did not read as it was written") as raised:
            box.make()
    assert raised.value.code == "backup_not_whole"
    assert list((box.folder / "backups").iterdir()) == []
    assert box.make().state == "whole"


def test_only_the_newest_are_kept(box: KeptBox) -> None:
    settings = box.with_backup(keep=2)
    first, second, third = (make(settings) for _ in range(3))
    assert [one.name for one in Shelf(settings).all()] == [third.name, second.name]
    assert not first.path.with_suffix(".json").exists()


def test_neither_a_damaged_one_nor_a_copy_from_elsewhere_takes_a_place(box: KeptBox) -> None:
    settings = box.with_backup(keep=1)
    first = make(settings)
    copied = first.path.with_name("earshot-20200101T000000Z.age")
    shutil.copy(first.path, copied)
    shelf = Shelf(settings)
    first.path.write_bytes(b"cut")
    second = make(settings)
    assert {one.name for one in shelf.all()} == {copied.name, second.name}
    assert [one.state for one in shelf.all()] == ["whole", "unknown"]


def test_one_from_the_future_neither_takes_a_place_nor_pushes_a_new_one_out(box: KeptBox) -> None:
    settings = box.with_backup(keep=1)
    made, now = make(settings), datetime.now(UTC)
    ahead = made.path.with_name("earshot-29990101T000000Z.age")
    for suffix in (".age", ".json"):
        made.path.with_suffix(suffix).rename(ahead.with_suffix(suffix))
    shelf = Shelf(settings)
    first = make(settings)
    assert first.path.exists()
    assert not is_due(shelf.all(), now, 3)
    second = make(settings)
    assert [one.name for one in shelf.all()] == [ahead.name, second.name]
    overview = look(settings, None, now)
    assert [one.holding.until for one in overview.backups] == [None, overview.due]
    finding = backups.look(settings)
    assert finding.state == "warn"
    assert f"as if of 2999-01-01: {ahead.name}" in finding.message
    shelf.remove(ahead.name)
    assert backups.look(settings).state == "ok"


@pytest.mark.parametrize("how", ["torn", "unreadable"])
def test_one_whose_card_cannot_be_read_is_damaged_and_goes_in_time(box: KeptBox, how: str) -> None:
    settings = box.with_backup(keep=1)
    first = make(settings)
    card = first.path.with_suffix(".json")
    if how == "torn":
        card.write_text(card.read_text()[:40])
    else:
        card.unlink()
        card.mkdir()
    (shown,) = look(settings, None).backups
    assert (shown.state, shown.database) == ("damaged", None)
    assert shown.said == "nobody can tell, maybe words of deleted calls"
    assert shown.holding.until is not None
    assert [one.state for one in check_all(settings)] == ["damaged"]
    if how == "torn":
        assert f"Damaged: {first.name}." in backups.look(settings).message
        second = make(settings)
        assert [one.name for one in Shelf(settings).all()] == [second.name]
        assert not card.exists()


def test_a_box_without_a_key_makes_none(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with pytest.raises(Refused, match="No key is set"):
        make(settings)
    wrong = Settings(data_dir=tmp_path, backup={"recipient": "age1" + "q" * 58})
    with pytest.raises(BadSettings, match="a letter is wrong"):
        recipient_of(wrong)


def test_an_identity_file_is_read_as_age_writes_it() -> None:
    key = new_key()
    (identity,) = identities_in(f"# created: today\n# public key: x\n{key.identity}\n")
    assert str(identity.to_public()) == key.recipient
    for text in ("", key.recipient, "AGE-SECRET-KEY-1nonsense"):
        with pytest.raises(BadInput, match="holds no key"):
            identities_in(text)


def test_a_disk_that_is_not_plugged_in_is_not_replaced_by_a_folder(
    box: KeptBox, tmp_path: Path
) -> None:
    stick = tmp_path / "stick"
    settings = box.with_backup(dir=stick)
    for action in (lambda: make(settings), lambda: Shelf(settings).all()):
        with pytest.raises(ApplianceError, match=r"is not there.*Plug in") as failed:
            action()
        assert failed.value.code == "backup_folder_gone"
    assert not stick.exists()
    stick.mkdir()
    assert make(settings).path.parent == stick


def test_a_disk_that_fills_up_leaves_nothing_behind(
    box: KeptBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_members: Any, _recipient: Any, target: Any) -> str:
        target.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(making, "seal", full)
    with pytest.raises(ApplianceError, match="no space left on device") as failed:
        box.make()
    assert failed.value.code == "backup_failed"
    assert list((box.folder / "backups").iterdir()) == []
    assert not (box.folder / "backup.draft").exists()


def test_two_at_once_are_one(box: KeptBox) -> None:
    with (box.folder / "backup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for action in (box.make, lambda: check_all(box.settings)):
            with pytest.raises(UnderWay):
                action()


def test_what_an_interrupted_one_left_is_cleared(box: KeptBox) -> None:
    made = box.make()
    draft = box.folder / "backup.draft"
    draft.mkdir()
    (draft / "appliance.db").write_text(CANARY)
    folder = box.folder / "backups"
    (folder / ".earshot-20260101T000000Z.age.77").write_text("half")
    (folder / "earshot-20260101T000000Z.json").write_text("{}")
    clear_drafts(box.settings)
    assert not draft.exists()
    box.make()
    assert len(list(folder.iterdir())) == 4
    assert made.path.exists()


def test_a_name_that_is_none_opens_nothing(box: KeptBox) -> None:
    shelf = Shelf(box.settings)
    for name in ("", "../settings.toml", "earshot-20260231T000000Z.age", "earshot-x.age"):
        with pytest.raises(NotFound):
            shelf.find(name)


def test_the_words_of_another_box_are_not_in_the_list(box: KeptBox, tmp_path: Path) -> None:
    """A copy from elsewhere, with or without its card, says what it can."""
    made = box.make()
    other = a_box(tmp_path / "other")
    (other.folder / "backups").mkdir()
    shutil.copy(made.path, other.folder / "backups")
    store = other.store()
    (shown,) = look(other.settings, store).backups
    assert (shown.state, shown.database, shown.said) == (
        "unknown", None, "not made here: only its key tells",
    )  # fmt: skip
    store.close()


def test_the_doctor_knows(box: KeptBox) -> None:
    def said() -> str:
        finding = backups.look(box.settings)
        return f"{finding.state}: {finding.message} {finding.hint}"

    keyless = backups.look(Settings(data_dir=box.folder))
    assert (keyless.state, "no key is set" in keyless.message) == ("warn", True)
    assert said().startswith("warn: There is no backup yet. `scripts/appliance backup create`")
    made = box.make()
    assert said().startswith("ok: The newest backup is of 20")
    old = made.path.with_name("earshot-20200101T000000Z.age")
    for suffix in (".age", ".json"):
        made.path.with_suffix(suffix).rename(old.with_suffix(suffix))
    assert "days old" in said()
    box.make()
    old.write_bytes(b"cut")
    assert f"warn: Damaged: {old.name}." in said()


def test_postgres_is_left_out_and_said(box: KeptBox) -> None:
    url = SecretStr("postgresql+psycopg://host/earshot")
    settings = box.settings.model_copy(update={"database_url": url})
    made = make(settings)
    assert made.card is not None
    assert not made.card.database
    with tar_of(box, made.path) as archive:
        assert "appliance.db" not in archive.getnames()
    assert "pg_dump" in look(settings, None).plan
