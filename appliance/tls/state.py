"""What other devices are shown of the front door's certificate; files are read, nothing is made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from appliance.addresses import lan_names
from appliance.settings import Settings
from appliance.tls.authority import load_certificate
from appliance.tls.leaves import leaf_for
from appliance.tls.names import is_one_label, names_of, permits
from appliance.tls.own import own_certificate
from appliance.tls.places import root


@dataclass(frozen=True)
class DoorCertificate:
    """The certificate of the https door.

    Attributes:
        own: whether it is the owner's, and not of the box's CA.
        root_pem: what devices have to trust; empty if it is the owner's.
        fingerprint: SHA-256 of the root, or of the owner's certificate, as ``AB:CD:…``.
        names: DNS names and addresses that it is for, the network's address first.
        valid_until: end of the certificate; None while the front door has not made one yet.
        root_valid_until: end of the root; None if it is the owner's.
    """

    own: bool
    root_pem: bytes
    fingerprint: str
    names: tuple[str, ...]
    valid_until: datetime | None
    root_valid_until: datetime | None


def door_certificate(settings: Settings) -> DoorCertificate | None:
    """The door's certificate; None while the door is closed, or before its first start.

    Raises:
        BadSettings: the owner's certificate cannot be used.
        OSError: the box's own cannot be read.
        ValueError: the box's own is damaged.
    """
    if not settings.front.lan:
        return None
    own = own_certificate(settings)
    if own is not None:
        return DoorCertificate(
            True, b"", fingerprint(own.leaf), tuple(names_of(own.leaf)),
            own.leaf.not_valid_after_utc, None,
        )  # fmt: skip
    path = root(settings).certificate
    if not path.exists():
        return None
    trusted, names = load_certificate(path), served_names(settings)
    leaf = leaf_for(settings, names[0]) if names else None
    return DoorCertificate(
        False, path.read_bytes(), fingerprint(trusted), tuple(names),
        leaf.not_valid_after_utc if leaf else None, trusted.not_valid_after_utc,
    )  # fmt: skip


def served_names(settings: Settings) -> list[str]:
    """The names of the https door for which the box's root lets certificates be made."""
    trusted = load_certificate(root(settings).certificate)
    return [
        name for name in lan_names(settings) if permits(trusted, name) and not is_one_label(name)
    ]


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 in the form in which devices show it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()
