"""The box's own certificate authority: made once, kept in the data folder, given to the front door."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.addresses import host_names, lan_names
from appliance.errors import BadSettings
from appliance.files import write_whole
from appliance.settings import Settings
from appliance.tls.names import constraints
from appliance.tls.places import Pair, intermediate, root, tls_dir

LASTS = timedelta(days=3650)
# Leaves last 90 days and cannot outlast what signs them.
_RENEW_BEFORE = timedelta(days=120)
# Clocks of phones differ from the box's.
_BACKDATED = timedelta(days=1)
# A common name holds 64 characters.
_LONGEST_HOST = 40
_NEW_ONE = (
    "Restore it from a backup, or remove that folder to have a new authority made, which every "
    "device has to trust anew."
)


def keep_authority(settings: Settings) -> list[str]:
    """Make what is missing or has ended of root and intermediate. Returns warnings, a sentence each.

    Raises:
        BadSettings: what is there cannot be read or used; says what to do.
    """
    folder, now = tls_dir(settings), datetime.now(UTC)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        warnings = []
        if not root(settings).certificate.exists():
            _make_root(settings, now)
        kept = _read(root(settings))
        if now >= kept.not_valid_after_utc:
            _make_root(settings, now)
            kept = _read(root(settings))
            warnings.append(
                "The box's certificate authority had ended, and a new one was made: every other "
                "device has to trust it anew."
            )
        elif now < kept.not_valid_before_utc:
            warnings.append(
                f"The clock says {now:%Y-%m-%d}, which is before the box's certificate authority "
                "was made: other devices cannot trust it until the clock is set."
            )
        if not _signs(settings, kept, now):
            _make_intermediate(settings, kept, now)
    except OSError as error:
        raise _unusable(folder, (error.strerror or "it cannot be written").lower()) from error
    return warnings


def load_certificate(path: Path) -> x509.Certificate:
    """The first certificate of a PEM file.

    Raises:
        OSError: it cannot be read.
        ValueError: there is none in it.
    """
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def _read(pair: Pair) -> x509.Certificate:
    try:
        return load_certificate(pair.certificate)
    except ValueError as error:
        raise _unusable(pair.folder, f"{pair.certificate.name} is damaged") from error


def _key(pair: Pair, certificate: x509.Certificate) -> ec.EllipticCurvePrivateKey:
    """The private key that belongs to this certificate.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged or another one's.
    """
    key = load_pem_private_key(pair.key.read_bytes(), None)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == certificate.public_key():
        return key
    raise ValueError("another certificate's key")


def _signs(settings: Settings, kept: x509.Certificate, now: datetime) -> bool:
    """Whether the intermediate can sign leaves that devices which trust this root accept."""
    pair = intermediate(settings)
    try:
        found = load_certificate(pair.certificate)
        _key(pair, found)
        found.verify_directly_issued_by(kept)
    except (FileNotFoundError, ValueError, TypeError, InvalidSignature):
        return False
    least = min(now + _RENEW_BEFORE, kept.not_valid_after_utc)
    return found.not_valid_after_utc >= least


def _make_root(settings: Settings, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    # Two boxes in one building are told apart in a device's list.
    host = (host_names() or ["box"])[0].removesuffix(".local")[:_LONGEST_HOST]
    name = _name(f"Earshot {host} {secrets.token_hex(2).upper()}")
    allowed = constraints(lan_names(settings))
    builder = _authority(name, key, now, now + LASTS, paths=1).issuer_name(name)
    builder = builder.add_extension(allowed, critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
    )
    _write(root(settings), builder, key, key)


def _make_intermediate(settings: Settings, kept: x509.Certificate, now: datetime) -> None:
    try:
        signer = _key(root(settings), kept)
        allowed = kept.extensions.get_extension_for_class(x509.NameConstraints).value
    except (FileNotFoundError, ValueError, TypeError, x509.ExtensionNotFound) as error:
        raise _unusable(
            tls_dir(settings), "root.key is missing, damaged or not the key of root.crt"
        ) from error
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"Earshot signing {secrets.token_hex(2).upper()}")
    builder = _authority(name, key, now, kept.not_valid_after_utc, paths=0)
    builder = builder.issuer_name(kept.subject).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
    )
    # Said twice: some clients do not look at what a root they trust says about itself.
    builder = builder.add_extension(allowed, critical=True)
    _write(intermediate(settings), builder, key, signer)


def _authority(
    name: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, until: datetime, *, paths: int
) -> x509.CertificateBuilder:
    """What root and intermediate have in common."""
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=paths), critical=True)
        .add_extension(usage, critical=True)
        # Names are constrained, those of people and programs are not: this rules mail and code out.
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _write(
    pair: Pair,
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
) -> None:
    """Sign and keep it; the key first, so that a certificate never lies there without."""
    certificate = builder.sign(signer, hashes.SHA256())
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_whole(pair.key, secret.decode("ascii"))
    write_whole(pair.certificate, certificate.public_bytes(Encoding.PEM).decode("ascii"))


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _unusable(folder: Path, reason: str) -> BadSettings:
    return BadSettings(
        "authority_unusable", f"The box's certificate authority in {folder} cannot be used: {reason}.",
        _NEW_ONE,
    )  # fmt: skip
