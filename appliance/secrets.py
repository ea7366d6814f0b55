"""Keys made at first run. There is no default secret anywhere."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from appliance.errors import BadSettings
from appliance.settings import Settings

LOCAL_TOKEN = "local_token"  # noqa: S105 - the file's name
_LEAST_SECRET = 32
_WELL_KNOWN = frozenset({"devkey", "secret", "changeme", "password"})


class LiveKitKeys(NamedTuple):
    """What signs and checks LiveKit's tokens."""

    api_key: str
    api_secret: str


def livekit_keys(settings: Settings) -> LiveKitKeys:
    """The box's LiveKit keys, from the settings or made once and kept in the data folder.

    Raises:
        BadSettings: a configured key is well known or too short, or a kept one cannot be read.
    """
    key, secret = settings.livekit.api_key, settings.livekit.api_secret.get_secret_value()
    if key or secret:
        if not key or len(secret) < _LEAST_SECRET or {key, secret} & _WELL_KNOWN:
            raise BadSettings(
                "weak_livekit_keys", "The configured LiveKit key or secret is missing, well known or shorter than 32 characters.",
                "Remove both settings to have them made, or set long random ones.",
            )  # fmt: skip
        return LiveKitKeys(key, secret)
    return LiveKitKeys(
        _kept(settings.secrets_dir / "livekit_api_key", lambda: "API" + secrets.token_hex(8)),
        _kept(settings.secrets_dir / "livekit_api_secret", lambda: secrets.token_urlsafe(48)),
    )


def local_token(settings: Settings) -> str:
    """What the command on the box signs in with; made once and kept, 0600.

    Raises:
        BadSettings: the kept one cannot be read.
    """
    return _kept(settings.secrets_dir / LOCAL_TOKEN, lambda: secrets.token_urlsafe(32))


def browser_key(settings: Settings) -> str:
    """Seals the cookie by which a browser is known again; made once and kept, 0600."""
    return _kept(settings.secrets_dir / "browser_key", lambda: secrets.token_urlsafe(32))


def link_key(settings: Settings) -> str:
    """What signs the addresses of join links; made once and kept, 0600.

    Raises:
        BadSettings: the kept one cannot be read.
    """
    return _kept(settings.secrets_dir / "link_key", lambda: secrets.token_urlsafe(48))


def known_local_token(settings: Settings) -> str:
    """The same, or empty where no box was ever started: looking must not make a data folder."""
    return local_token(settings) if (settings.secrets_dir / LOCAL_TOKEN).exists() else ""


def _kept(path: Path, make: Callable[[], str]) -> str:
    """The secret in this file, or a sentence about why there is none."""
    try:
        return _read_or_made(path, make)
    except OSError as error:
        reason = (error.strerror or "it cannot be opened").lower()
        raise BadSettings(
            "secret_unreadable", f"The secret {path} cannot be read or made: {reason}.",
            "Check its owner and its permissions; without the file, a new secret is made.",
        ) from error  # fmt: skip


def _read_or_made(path: Path, make: Callable[[], str]) -> str:
    """The secret in this file; made there, whole and 0600, if it does not exist."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        descriptor, draft = tempfile.mkstemp(prefix=".draft-", dir=path.parent)
        with os.fdopen(descriptor, "w") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        try:
            # A link fails where another program was first; a rename would replace its key.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            Path(draft).unlink()
    return path.read_text().strip()
