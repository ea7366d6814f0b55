"""Certificates for tests, of an authority of their own or self-signed, as PEM files."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.tls.places import Pair


def sign(
    names: Sequence[str],
    signer: Pair | None = None,
    *,
    begins: timedelta = timedelta(days=-1),
    ends: timedelta = timedelta(days=90),
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A server's certificate for these names and addresses; self-signed without a signer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    issuer, signing = subject, key
    if signer:
        issuer = x509.load_pem_x509_certificate(signer.certificate.read_bytes()).subject
        loaded = load_pem_private_key(signer.key.read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signing = loaded
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), False
        )
    )
    return builder.sign(signing, hashes.SHA256()), key


def write(
    folder: Path,
    names: Sequence[str],
    signer: Pair | None = None,
    *,
    called: str = "door",
    passphrase: str = "",
    begins: timedelta = timedelta(days=-1),
    ends: timedelta = timedelta(days=90),
) -> Pair:
    """The same as two files in this folder."""
    certificate, key = sign(names, signer, begins=begins, ends=ends)
    pair = Pair(folder, called)
    chain = certificate.public_bytes(Encoding.PEM)
    if signer:
        chain += signer.certificate.read_bytes()
    lock = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    folder.mkdir(parents=True, exist_ok=True)
    pair.certificate.write_bytes(chain)
    pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
    return pair


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
