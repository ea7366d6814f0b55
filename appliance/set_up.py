"""The one-time link with which the owner sets the first password, or one after a reset."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from appliance.errors import BadSettings
from appliance.rendering import write_private
from appliance.settings import Settings
from appliance.store import open_store

# Each start prints a link, and the one of yesterday's terminal still works.
_KEPT = 10


def new_set_up_link(settings: Settings) -> str:
    """Make a link. It works until a password is set; only its digest is kept.

    Raises:
        BadSettings: the folder of secrets cannot be written.
    """
    code = secrets.token_urlsafe(32)
    path = _path(settings)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, "\n".join([*_digests(settings), _digest(code)][-_KEPT:]) + "\n")
    except OSError as error:
        raise BadSettings(
            "secret_unreadable", f"{path} cannot be written.",
            "Check the owner and the free space of the data folder.",
        ) from error  # fmt: skip
    return f"{settings.front_url}/set-up?code={code}"


def link_while_unclaimed(settings: Settings) -> str:
    """A link, or empty if a password is set.

    Raises:
        ApplianceError: the store or the folder of secrets cannot be used.
    """
    store = open_store(settings)
    try:
        claimed = store.owner.password_hash() is not None
    finally:
        store.close()
    return "" if claimed else new_set_up_link(settings)


def is_set_up_code(settings: Settings, code: str) -> bool:
    """Whether a link with this code was made and not used. That no password is set is seen elsewhere."""
    given = _digest(code)
    return any(hmac.compare_digest(given, kept) for kept in _digests(settings))


def forget_set_up_links(settings: Settings) -> None:
    """No link works any more."""
    _path(settings).unlink(missing_ok=True)


def _path(settings: Settings) -> Path:
    return settings.secrets_dir / "set_up_codes"


def _digests(settings: Settings) -> list[str]:
    try:
        return _path(settings).read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return []


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()
