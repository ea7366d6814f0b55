"""A restore brings everything back on another box, or changes nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from appliance import files
from appliance.backup import swapping
from appliance.backup.keys import identities_in, new_key
from appliance.backup.making import NO_DATABASE, make
from appliance.backup.restoring import restore
from appliance.catalogue.selection import Selection, read_selection, write_selection
from appliance.checks import backups
from appliance.errors import ApplianceError, BadInput, NotFound, Refused
from appliance.settings import Settings
from appliance.store import open_store
from appliance.store.audit import Deed
from tests.backups import PASSWORD_HASH, PERSONA, KeptBox, a_box, sealed_tar, state_of
from tests.canary import files_with

pytestmark = pytest.mark.unit


@pytest.fixture
def box(tmp_path: Path) -> KeptBox:
    """A box with a call and a key of a program."""
    box = a_box(tmp_path / "data")
    box.talk("what is kept", "this")
    return box


def elsewhere(box: KeptBox, folder: Path) -> Settings:
    """A new box, which knows nothing of the first."""
    return Settings(data_dir=folder, builtin_models_dir=box.settings.builtin_models_dir)


def test_a_new_box_becomes_the_old_one(box: KeptBox, tmp_path: Path) -> None:
    store = box.store()
    open_call = store.sessions.create(persona="anna", keep_transcript=True)
    store.sign_ins.add("digest", "here", "browser", PASSWORD_HASH)
    store.audit.append(Deed("owner", "", "before"))
    store.close()
    made = box.make()
    new = elsewhere(box, tmp_path / "new" / "data")
    done = restore(new, made.path, box.identities)
    assert (done.calls, done.aside, done.remarks) == (1, None, [])
    assert new.settings_file.read_text() == box.settings.settings_file.read_text()
    for name in ("secrets/livekit_api_secret", "secrets/local_token", "tls/root.crt"):
        assert (new.data_dir / name).read_bytes() == (box.folder / name).read_bytes()
        assert (new.data_dir / name).stat().st_mode & 0o777 == 0o600
        assert (new.data_dir / name).parent.stat().st_mode & 0o777 == 0o700
    assert (new.data_dir / "personas" / "anna.yaml").read_text() == PERSONA
    assert new.data_dir.stat().st_mode & 0o777 == 0o700
    assert (new.data_dir / "appliance.db").stat().st_mode & 0o777 == 0o600
    store = open_store(new)
    assert store.owner.password_hash() == PASSWORD_HASH
    assert store.sign_ins.all(10**9, 10**9) == []
    held = next(one for one in store.sessions.list() if one.id != open_call.id)
    assert [turn.user_text for turn in store.turns.list(held.id)] == ["what is kept"]
    ended = store.sessions.get(open_call.id)
    assert (ended.state, ended.reason) == ("failed", "the box was restored from a backup")
    assert store.audit.list()[0][0].action == "backup.restored"
    assert store.audit.verify().broken_at is None
    store.close()
    assert sorted(path.name for path in new.data_dir.iterdir() if path.is_dir()) == [
        "models", "personas", "secrets", "tls",
    ]  # fmt: skip


def test_what_was_there_is_set_aside(box: KeptBox) -> None:
    made = box.make()
    later = box.talk("said afterwards", "yes")
    (box.folder / "personas" / "new.yaml").write_text("name: new\n")
    (box.folder / "secrets" / "link_key").write_text("made afterwards")
    done = restore(box.settings, made.path, box.identities)
    assert done.aside is not None
    store = box.store()
    with pytest.raises(NotFound):
        store.sessions.get(later.id)
    store.close()
    assert not (box.folder / "personas" / "new.yaml").exists()
    assert not (box.folder / "secrets" / "link_key").exists()
    assert (done.aside / "personas" / "new.yaml").exists()
    aside = open_store(Settings(data_dir=done.aside))
    assert aside.sessions.get(later.id).state == "completed"
    aside.close()
    assert made.path.exists()
    assert not (box.folder / "restore.draft").exists()
    assert f"`rm -r {done.aside}`" in backups.look(box.settings).hint


def test_an_older_backup_leaves_the_authority_that_phones_trust(box: KeptBox) -> None:
    shutil.move(box.folder / "tls", box.folder / "away")
    made = box.make()
    shutil.move(box.folder / "away", box.folder / "tls")
    restore(box.settings, made.path, box.identities)
    assert (box.folder / "tls" / "root.crt").read_text() == "the authority"


def spoilt(box: KeptBox, how: Callable[[bytes], bytes]) -> Path:
    made = box.make()
    path = box.folder.parent / "copy.age"
    path.write_bytes(how(made.path.read_bytes()))
    return path


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (lambda content: content[:-200], "backup_damaged"),
        (lambda content: content[:100], "backup_damaged"),
        (lambda content: b"", "backup_damaged"),
        (lambda content: bytes(500), "backup_damaged"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "backup_damaged"),
        (lambda content: content + b"more", "backup_damaged"),
    ],
)
def test_what_is_no_whole_backup_changes_nothing(
    box: KeptBox, how: Callable[[bytes], bytes], code: str
) -> None:
    path = spoilt(box, how)
    before = state_of(box.folder)
    with pytest.raises(BadInput) as failed:
        restore(box.settings, path, box.identities)
    assert failed.value.code == code
    assert state_of(box.folder) == before
    assert not list(box.folder.glob("*restore*"))


def test_another_ones_key_opens_nothing(box: KeptBox, tmp_path: Path) -> None:
    made = box.make()
    other = identities_in(new_key().identity)
    with pytest.raises(BadInput, match="does not open") as failed:
        restore(elsewhere(box, tmp_path / "new"), made.path, other)
    assert failed.value.code == "identity_wrong"
    assert not (tmp_path / "new").exists()


def repacked(box: KeptBox, change: Callable[[Path], None]) -> Path:
    """The same backup with something changed by somebody who has the public key."""
    from appliance.backup.sealing import unseal

    made, folder = box.make(), box.folder.parent / "repacked"
    folder.mkdir()
    unseal(made.path, box.identities, folder / "tar")
    with tarfile.open(folder / "tar") as archive:
        archive.extractall(folder / "out", filter="data")
    change(folder / "out")
    members = [
        (tarfile.TarInfo(path.relative_to(folder / "out").as_posix()), path.read_bytes())
        for path in sorted((folder / "out").rglob("*"))
        if path.is_file()
    ]
    return sealed_tar(folder / "again.age", box.key.recipient, members)


def newer_tables(folder: Path) -> None:
    with sqlite3.connect(folder / "appliance.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()


def newer_format(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))


def broken_database(folder: Path) -> None:
    content = bytearray((folder / "appliance.db").read_bytes())
    content[4096:12288] = os.urandom(8192)
    (folder / "appliance.db").write_bytes(content)


def missing_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def bad_settings(folder: Path) -> None:
    (folder / "settings.toml").write_text("[[[")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (newer_tables, "backup_newer"),
        (newer_format, "backup_newer"),
        (broken_database, "backup_database_damaged"),
        (missing_manifest, "backup_damaged"),
        (bad_settings, "settings_unreadable"),
    ],
)
def test_what_this_version_cannot_use_changes_nothing(
    box: KeptBox, change: Callable[[Path], None], code: str
) -> None:
    path = repacked(box, change)
    before = state_of(box.folder)
    with pytest.raises(ApplianceError) as failed:
        restore(box.settings, path, box.identities)
    assert failed.value.code == code
    assert state_of(box.folder) == before


def link(name: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    "info",
    [
        tarfile.TarInfo("../escaped"),
        tarfile.TarInfo("/absolute"),
        tarfile.TarInfo("secrets/../../escaped"),
        tarfile.TarInfo("secrets//x"),
        tarfile.TarInfo("secrets"),
        tarfile.TarInfo("secrets/.hidden"),
        tarfile.TarInfo("secrets/a\nb"),
        tarfile.TarInfo("box.lock"),
        tarfile.TarInfo("models/selection.json"),
        tarfile.TarInfo("a/b/c"),
        link("secrets/link"),
        link("appliance.db"),
        link("secrets/link", tarfile.LNKTYPE),
        link("secrets/dir", tarfile.DIRTYPE),
        link("secrets/pipe", tarfile.FIFOTYPE),
        link("secrets/disk", tarfile.BLKTYPE),
    ],
    ids=lambda info: f"{info.name!r}-{info.type!r}",
)
def test_tricks_in_the_tar_change_nothing(
    box: KeptBox, tmp_path: Path, info: tarfile.TarInfo
) -> None:
    path = sealed_tar(tmp_path / "trick.age", box.key.recipient, [(info, b"trick")])
    before, around = state_of(box.folder), set(tmp_path.iterdir())
    with pytest.raises(BadInput, match="holds something that no backup of Earshot has") as failed:
        restore(box.settings, path, box.identities)
    assert "\n" not in failed.value.message
    assert state_of(box.folder) == before
    assert set(tmp_path.iterdir()) == around


def test_the_same_name_twice_is_a_trick(box: KeptBox, tmp_path: Path) -> None:
    twice = [(tarfile.TarInfo("secrets/a"), b"1"), (tarfile.TarInfo("secrets/a"), b"2")]
    path = sealed_tar(tmp_path / "trick.age", box.key.recipient, twice)
    with pytest.raises(BadInput, match="something that no backup"):
        restore(box.settings, path, box.identities)


def test_a_box_that_runs_is_left_alone(box: KeptBox) -> None:
    made = box.make()
    before = state_of(box.folder)
    with (box.folder / "box.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="is running"):
            restore(box.settings, made.path, box.identities)
    assert state_of(box.folder) == before


def other_models(folder: Path) -> None:
    (folder / "models.json").write_text(
        '{"current": {"stt": "whisper-base", "llm": "qwen3-4b-q4_k_m"}, "installed": '
        '{"qwen3-4b-q4_k_m": {"task": "llm"}, "of-mine": {"task": "tts"}}}'
    )


def test_models_that_are_not_here_are_named(box: KeptBox, tmp_path: Path) -> None:
    path = repacked(box, other_models)
    new = elsewhere(box, tmp_path / "new")
    write_selection(new, Selection(current={"tts": "x"}))
    remarks = restore(new, path, box.identities).remarks
    assert "`scripts/appliance models pull qwen3-4b-q4_k_m` fetches them." in remarks[0]
    assert (
        f"of your own that are not here: of-mine. Put their files into {new.models_path}."
        in remarks[1]
    )
    assert "qwen3-4b-q4_k_m served llm before" in " ".join(remarks)
    assert "llm" not in read_selection(new).current


def test_a_failure_in_the_middle_puts_everything_back(
    box: KeptBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = box.make()
    write_selection(box.settings, Selection(current={"tts": "before"}))
    box.talk("said afterwards")
    before = state_of(box.folder)
    whole, left = files.write_whole, [1]

    def full(path: Path, text: str, *, mode: int = 0o600) -> None:
        if path.name == "selection.json" and left and left.pop():
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        whole(path, text, mode=mode)

    monkeypatch.setattr(swapping, "write_whole", full)
    with pytest.raises(ApplianceError, match=r"no space left on device\. Nothing was changed"):
        restore(box.settings, made.path, box.identities)
    assert left == []
    assert state_of(box.folder) == before
    assert not list(box.folder.glob("*restore*"))


def test_the_words_are_nowhere_but_where_they_belong(box: KeptBox, tmp_path: Path) -> None:
    made = box.make()
    new = elsewhere(box, tmp_path / "new")
    restore(new, made.path, box.identities)
    assert set(files_with("what is kept", new.data_dir)) <= {"appliance.db", "appliance.db-wal"}


def test_too_little_room_is_said_before_anything(
    box: KeptBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = box.make()
    usage = shutil.disk_usage(box.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1000))
    with pytest.raises(ApplianceError, match="Nothing was changed"):
        restore(box.settings, made.path, box.identities)


POSTGRES = "postgresql+psycopg://host/earshot"


def test_calls_are_not_left_out_because_the_box_has_a_server_now(
    box: KeptBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = box.make()
    before = state_of(box.folder)
    monkeypatch.setenv("APPLIANCE_DATABASE_URL", POSTGRES)
    settings = box.settings.model_copy(update={"database_url": SecretStr(POSTGRES)})
    with pytest.raises(Refused, match=r"holds calls.*Nothing was changed.*Take that setting away"):
        restore(settings, made.path, box.identities)
    assert state_of(box.folder) == before
    monkeypatch.delenv("APPLIANCE_DATABASE_URL")
    assert restore(box.settings, made.path, box.identities).calls == 1


def test_a_backup_without_calls_says_so_wherever_it_is_restored(
    box: KeptBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = box.settings.model_copy(update={"database_url": SecretStr(POSTGRES)})
    made = make(settings)
    assert restore(box.settings, made.path, box.identities).remarks == [NO_DATABASE]
    monkeypatch.setenv("APPLIANCE_DATABASE_URL", POSTGRES)
    new = elsewhere(box, tmp_path / "new").model_copy(
        update={"database_url": settings.database_url}
    )
    assert restore(new, made.path, box.identities).remarks == [NO_DATABASE]
