"""What Caddy keeps of the certificates that it signed: those of no more use go before it starts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from appliance.settings import Settings
from appliance.tls.authority import load_certificate
from appliance.tls.names import names_of
from appliance.tls.places import intermediate, storage


def leaves(settings: Settings) -> Iterator[tuple[Path, x509.Certificate | None]]:
    """Every kept certificate's folder with what is in it; None where it cannot be read."""
    for path in sorted((storage(settings) / "certificates").glob("*/*/*.crt")):
        try:
            yield path.parent, load_certificate(path)
        except (OSError, ValueError):
            yield path.parent, None


def leaf_for(settings: Settings, name: str) -> x509.Certificate | None:
    """The front door's certificate for a name or an address, if it has made one."""
    found = (leaf for _, leaf in leaves(settings))
    return next((leaf for leaf in found if leaf is not None and name in names_of(leaf)), None)


def drop_useless(settings: Settings, names: list[str]) -> None:
    """Remove what is not valid now, what another authority signed and what is for a name of before.

    Caddy renews what is about to end, and would go on handing out the rest.

    Raises:
        OSError: one cannot be removed.
    """
    signer, now = load_certificate(intermediate(settings).certificate), datetime.now(UTC)
    for folder, leaf in leaves(settings):
        if leaf is None or not _is_of_use(leaf, signer, now, names):
            shutil.rmtree(folder)


def _is_of_use(
    leaf: x509.Certificate, signer: x509.Certificate, now: datetime, names: list[str]
) -> bool:
    try:
        leaf.verify_directly_issued_by(signer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    in_time = leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc
    return in_time and set(names_of(leaf)) <= set(names)
