"""Putting a restored state in the place of the present one, so that a kill leaves one of the two."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from appliance import logs
from appliance.errors import ApplianceError
from appliance.files import sync_folder, write_whole

DRAFT = "restore.draft"
_JOURNAL = "restore.json"
log = logs.get(__name__)


class _Journal(BaseModel):
    """What a restore is about to change; while it is there, the restore has not happened."""

    model_config = ConfigDict(extra="forbid")
    aside: str
    """Name of the folder that the present state goes to."""
    had: list[str]
    """Names that were in the data folder before."""
    names: list[str]
    """Names that are put there, or taken away."""
    texts: dict[str, str | None]
    """Files outside of the data folder, with what they said; None: there was none."""


def swap(
    data_dir: Path, new: Path, names: list[str], texts: dict[Path, str], now: datetime
) -> Path | None:
    """Put these names of the new folder in their place, and set the present ones aside.

    Args:
        data_dir: the data folder; nobody else uses it.
        new: a folder in it; a name that it lacks is taken away.
        names: files and folders, in the order in which they are changed.
        texts: files outside of the data folder, with what they are to say.
        now: names the folder that the present state goes to.

    Returns:
        That folder; None if there was nothing before.

    Raises:
        OSError: it failed, and everything is as it was.
    """
    aside = data_dir / f"before-restore-{now:%Y%m%dT%H%M%SZ}"
    aside.mkdir(mode=0o700)
    journal = _Journal(
        aside=aside.name,
        had=[name for name in names if _is_there(data_dir / name)],
        names=names,
        texts={str(path): _text(path) for path in texts},
    )
    try:
        write_whole(data_dir / _JOURNAL, journal.model_dump_json())
        for name in names:
            if name in journal.had:
                (data_dir / name).rename(aside / name)
            if _is_there(new / name):
                (new / name).rename(data_dir / name)
        for path, text in texts.items():
            write_whole(path, text, mode=0o666)
        for folder in (aside, new, data_dir):
            sync_folder(folder)
        (data_dir / _JOURNAL).unlink()
        sync_folder(data_dir)
    except BaseException:
        settle(data_dir)
        _remove_if_empty(aside)
        raise
    if not journal.had:
        aside.rmdir()
        return None
    return aside


def settle(data_dir: Path) -> bool:
    """Put back what a restore that did not come to its end has set aside; whether there was one.

    Nobody else uses the data folder.

    Raises:
        ApplianceError: it cannot be put back.
    """
    shutil.rmtree(data_dir / DRAFT, ignore_errors=True)
    path = data_dir / _JOURNAL
    try:
        journal = _Journal.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return False
    except (OSError, ValidationError) as error:
        raise _stuck(path) from error
    try:
        _put_back(data_dir, journal)
        path.unlink()
        sync_folder(data_dir)
    except OSError as error:
        raise _stuck(path) from error
    log.warning("restore_undone", aside=journal.aside)
    return True


def _put_back(data_dir: Path, journal: _Journal) -> None:
    """Safe to be interrupted and begun again."""
    aside = data_dir / journal.aside
    for name in reversed(journal.names):
        there = data_dir / name
        if name not in journal.had:
            _remove(there)
        elif _is_there(aside / name):
            _remove(there)
            (aside / name).rename(there)
    for place, text in journal.texts.items():
        if text is None:
            Path(place).unlink(missing_ok=True)
        else:
            write_whole(Path(place), text, mode=0o666)
    _remove_if_empty(aside)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _stuck(path: Path) -> ApplianceError:
    return ApplianceError(
        "restore_stuck", f"A restore was interrupted, and what {path} lists cannot be put back.",
        "Check the data folder's owner and free space, then try again.",
    )  # fmt: skip


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
