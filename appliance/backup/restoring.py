"""Restoring a backup into a data folder whose box is down."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from appliance import logs
from appliance.backup.contents import DATABASE, FOLDERS, SETTINGS, KeptModels
from appliance.backup.making import NO_DATABASE
from appliance.backup.swapping import DRAFT, settle, swap
from appliance.catalogue import Catalogue
from appliance.catalogue.selection import Selection, selection_file
from appliance.errors import ApplianceError, NotFound, Refused
from appliance.settings import Settings, environment_name
from appliance.settings_file import Values, problems
from appliance.store import EndState, Store, upgrade
from appliance.store.audit import Deed
from appliance.store.copying import calls_with_words, check_copy
from appliance.store.engine import sqlite_path
from appliance.store.keeping import box_down
from appliance.supervision import members

if TYPE_CHECKING:
    from pyrage import x25519

    from appliance.backup.unpacking import Unpacked

_RESTORED = "the box was restored from a backup"
# Those that SQLite keeps beside a database belong to it.
_DATABASE_FILES = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm")
log = logs.get(__name__)


@dataclass(frozen=True)
class Restored:
    """What came back.

    Attributes:
        made_at: when the backup was made.
        version: of Earshot, then.
        calls: how many calls with words.
        aside: where the state before lies; None if there was none.
        remarks: sentences about what did not come back by itself.
    """

    made_at: datetime
    version: str
    calls: int
    aside: Path | None
    remarks: list[str]


def restore(settings: Settings, source: Path, identities: list[x25519.Identity]) -> Restored:
    """Replace the data folder's state by a backup's; when it fails, nothing has changed.

    Args:
        settings: of the data folder as it is now.
        source: the sealed file.
        identities: keys of the owner's.

    Raises:
        Refused: the box runs, or its database is somewhere else.
        BadInput: the key does not fit, or the file is no whole backup, a newer or a dangerous one.
        ApplianceError: the disk is full or a file cannot be used.
    """
    _require_file(source)
    data_dir = settings.data_dir
    is_new = not data_dir.exists()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with box_down(data_dir):
                return _restore(settings, source, identities)
        except BaseException:
            if is_new:
                shutil.rmtree(data_dir, ignore_errors=True)
            raise
    except OSError as error:
        reason = (error.strerror or "it failed").lower()
        raise ApplianceError(
            "restore_failed", f"{error.filename or data_dir} cannot be used: {reason}. Nothing was changed.",
            "Check its owner and the free space, then try again.",
        ) from error  # fmt: skip


def _restore(settings: Settings, source: Path, identities: list[x25519.Identity]) -> Restored:
    from appliance.backup.unpacking import unpack

    data_dir = settings.data_dir
    if members(settings.run_dir):
        raise Refused(
            "box_runs",
            "Programs of Earshot are still running.",
            "`scripts/appliance down` stops them.",
        )
    settle(data_dir)
    _require_room(data_dir, source)
    draft = data_dir / DRAFT
    draft.mkdir(mode=0o700)
    try:
        found = unpack(source, identities, draft)
        later = _later(settings, found.values)
        remarks = []
        names = [SETTINGS]
        if found.manifest.database:
            _require_own_database(later)
            _bring_up(found)
            names = [*_DATABASE_FILES, *names]
        else:
            remarks.append(NO_DATABASE)
        calls = len(calls_with_words(found.folder / DATABASE)) if DATABASE in names else 0
        # An older backup of a box without a CA must not take the present one: every phone trusts it.
        kept = [name for name in FOLDERS if name != "tls" or (found.folder / name).exists()]
        # The settings last: whoever starts the box after a kill has read the ones of before.
        names = [*[name for name in names if name != SETTINGS], *kept, SETTINGS]
        for folder in kept:
            (found.folder / folder).mkdir(mode=0o700, exist_ok=True)
        selection, said = _models(later, found.models)
        remarks += [*said, *(str(one) for one in problems(found.values).values())]
        place = selection_file(later)
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = swap(data_dir, found.folder, names, {place: selection}, datetime.now(UTC))
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    log.warning("backup_restored", name=source.name)
    return Restored(found.manifest.made_at, found.manifest.version, calls, aside, remarks)


def _require_file(source: Path) -> None:
    try:
        with source.open("rb"):
            return
    except OSError as error:
        raise NotFound(
            "backup_unreadable", f"{source} cannot be opened.",
            "Name the file of the backup; `scripts/appliance backup list` says where they lie.",
        ) from error  # fmt: skip


def _require_room(data_dir: Path, source: Path) -> None:
    # The opened tar, what is taken out of it, and the database while it is brought up to date.
    needed = 3 * source.stat().st_size + (16 << 20)
    free = shutil.disk_usage(data_dir).free
    if free < needed:
        raise ApplianceError(
            "restore_no_room", f"{needed // 1_000_000} MB are needed in {data_dir}, {free // 1_000_000} MB are free. "
            "Nothing was changed.",
            "Free some space there.",
        )  # fmt: skip


def _later(settings: Settings, values: Values) -> Settings:
    """The settings with those places that the backup's own settings name, environment first."""
    found: dict[str, object] = {}
    if not environment_name("database_url"):
        found["database_url"] = SecretStr(str(values.get("database_url", "")))
    if not environment_name("models_dir"):
        folder = values.get("models_dir")
        found["models_dir"] = Path(folder).expanduser().absolute() if folder else None
    return settings.model_copy(update=found)


def _require_own_database(settings: Settings) -> None:
    """Pass if the calls of a backup have a place: the database lies in the data folder.

    Raises:
        Refused: it is a server's, or a file somewhere else.
    """
    path = sqlite_path(settings.store_url)
    if path is None:
        raise Refused(
            "database_elsewhere", "The backup holds calls, and the setting database_url names a server, into "
            "which a restore puts nothing. Nothing was changed.",
            "Take that setting away for the restore: the calls then lie in the data folder.",
        )  # fmt: skip
    if path.absolute() != settings.data_dir / DATABASE:
        raise Refused(
            "database_elsewhere", f"The setting database_url names {path}, and a restore replaces only "
            "what is in the data folder. Nothing was changed.",
            "Take that setting away for the restore.",
        )  # fmt: skip


def _bring_up(found: Unpacked) -> None:
    """Give the database this version's tables; end what was open, and sign everybody out.

    Raises:
        BadInput: it is damaged, or of a newer version.
    """
    from appliance.backup.unpacking import newer

    path = found.folder / DATABASE
    check_copy(path)
    url = f"sqlite:///{path}"
    try:
        upgrade(url)
    except ApplianceError as error:
        if error.code != "database_newer":
            raise
        raise newer(found.manifest) from error
    store = Store(url)
    try:
        for session in store.sessions.open():
            store.sessions.end(session.id, EndState.FAILED, _RESTORED)
        if password := store.owner.password_hash():
            store.owner.change(password)
        made = found.manifest.made_at.isoformat()
        store.audit.append(Deed("command", "", "backup.restored", detail={"made_at": made}))
        store.scrub()
    finally:
        store.close()
    path.with_name(f"{DATABASE}.lock").unlink(missing_ok=True)


def _models(settings: Settings, kept: KeptModels) -> tuple[str, list[str]]:
    """The selection as this box can have it, and sentences about models that are not here."""
    catalogue = Catalogue(settings)
    here = {one.id: one for one in catalogue.all_installed()}
    missing = [name for name in kept.installed if name not in here]
    current = {task: name for task, name in kept.current.items() if name in here}
    said = []
    if pulled := [name for name in missing if name in catalogue.entries]:
        said.append(
            f"Not installed here: {', '.join(pulled)}. "
            f"`scripts/appliance models pull {' '.join(pulled)}` fetches them."
        )
    if own := [name for name in missing if name not in catalogue.entries]:
        said.append(
            f"Models of your own that are not here: {', '.join(own)}. "
            f"Put their files into {settings.models_path}."
        )
    for task, name in kept.current.items():
        if name not in here:
            said.append(
                f"{name} served {task} before: choose it on the page Models once it is here."
            )
    for name, model in kept.installed.items():
        if name in here and model.digests:
            now = {path.name: digest for path, digest in here[name].expected().items()}
            if any(now.get(file, digest) != digest for file, digest in model.digests.items()):
                said.append(f"The model {name} here has other files than the one of the backup.")
    selection = Selection(
        current=current, last_good=dict(current),
        wishes={task: wish for task, wish in kept.wishes.items() if task in current},
    )  # fmt: skip
    return selection.model_dump_json(indent=2) + "\n", said
