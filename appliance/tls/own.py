"""The owner's certificate for the front door: read, and judged before anything is started."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from appliance.addresses import HERE, lan_names
from appliance.errors import BadSettings
from appliance.settings import Settings
from appliance.tls.authority import load_certificate
from appliance.tls.names import covers, names_of

_HINT = "Mend the settings front.certificate and front.certificate_key, or unset both."


@dataclass(frozen=True)
class OwnCertificate:
    """What the owner gave, each a PEM file; the first certificate is the front door's."""

    chain: Path
    key: Path
    leaf: x509.Certificate


def own_certificate(settings: Settings) -> OwnCertificate | None:
    """The owner's certificate with the key that belongs to it; None where the box's own CA is used.

    Raises:
        BadSettings: one of the two is missing, unreadable or does not belong to the other.
    """
    front = settings.front
    if front.certificate is None and front.certificate_key is None:
        return None
    if front.certificate is None or front.certificate_key is None:
        lacking = "front.certificate_key" if front.certificate else "front.certificate"
        raise BadSettings(
            "certificate_incomplete", f"The owner's certificate needs {lacking} too.", _HINT
        )
    chain, key = placed(settings, front.certificate), placed(settings, front.certificate_key)
    leaf = _leaf(chain)
    if _public_key(key) != _public(leaf):
        raise BadSettings(
            "certificate_key_other", f"{key} is not the key of the first certificate in {chain}.",
            "The box's own certificate has to be the first one, before those that signed it.",
        )  # fmt: skip
    return OwnCertificate(chain, key, leaf)


def judged(settings: Settings, own: OwnCertificate) -> list[str]:
    """What browsers will say about it, a sentence each."""
    found = []
    now = datetime.now(UTC)
    if now >= own.leaf.not_valid_after_utc:
        found.append(
            f"The certificate {own.chain} expired on {own.leaf.not_valid_after_utc:%Y-%m-%d}; "
            "browsers warn of it until there is a new one."
        )
    elif now < own.leaf.not_valid_before_utc:
        found.append(
            f"The certificate {own.chain} is valid from {own.leaf.not_valid_before_utc:%Y-%m-%d}, "
            f"and the clock says {now:%Y-%m-%d}."
        )
    lacking = lacking_names(settings, own.leaf)
    if lacking == wanted(settings):
        found.append(
            f"The certificate {own.chain} is for {', '.join(names_of(own.leaf)) or 'no name'}, none of "
            "which is among the names of this box; name it in front.names."
        )
    elif lacking:
        found.append(
            f"The certificate {own.chain} lacks {', '.join(lacking)}; browsers warn there."
        )
    return found


def wanted(settings: Settings) -> list[str]:
    """The names by which other machines come."""
    return [name for name in lan_names(settings) if name not in HERE]


def lacking_names(settings: Settings, leaf: x509.Certificate) -> list[str]:
    """Names of the box that this certificate does not cover."""
    return [name for name in wanted(settings) if not covers(leaf, name)]


def placed(settings: Settings, path: Path) -> Path:
    """Where a file of the settings lies; one without a leading slash lies in the data folder."""
    return settings.data_dir / path.expanduser()


def _leaf(path: Path) -> x509.Certificate:
    try:
        return load_certificate(path)
    except OSError as error:
        raise _unreadable("certificate", path, error) from error
    except ValueError as error:
        raise BadSettings(
            "certificate_unreadable", f"{path} holds no certificate in PEM form.", _HINT
        ) from error


def _public_key(path: Path) -> bytes:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise _unreadable("key", path, error) from error
    except TypeError as error:
        raise BadSettings(
            "certificate_key_locked", f"The key {path} is locked with a passphrase, which nobody types "
            "when the box starts.", "Give it without one: `openssl pkey -in KEY -out PLAIN`.",
        ) from error  # fmt: skip
    except ValueError as error:
        raise BadSettings(
            "certificate_key_unreadable", f"{path} holds no private key in PEM form.", _HINT
        ) from error
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _public(leaf: x509.Certificate) -> bytes:
    return leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _unreadable(what: str, path: Path, error: OSError) -> BadSettings:
    reason = (error.strerror or "it cannot be opened").lower()
    return BadSettings(
        "certificate_unreadable", f"The owner's {what} {path} cannot be read: {reason}.", _HINT
    )
