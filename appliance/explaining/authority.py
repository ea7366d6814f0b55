"""The box's certificate authority as files for each kind of device."""

from __future__ import annotations

import plistlib
import uuid

MOBILECONFIG = "earshot.mobileconfig"
MEDIA_TYPES = {
    "root.crt": "application/x-x509-ca-cert",
    "root.der": "application/x-x509-ca-cert",
    MOBILECONFIG: "application/x-apple-aspen-config",
}
"""Name of each file, and how it is served."""


def authority_files(root_pem: bytes) -> dict[str, bytes]:
    """What a device installs to trust the box, by file name.

    Raises:
        ValueError: this is no certificate.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding

    root = x509.load_pem_x509_certificate(root_pem)
    der = root.public_bytes(Encoding.DER)
    profile = _profile(der, root.fingerprint(hashes.SHA256()), common_name(root_pem))
    return {"root.crt": root.public_bytes(Encoding.PEM), "root.der": der, MOBILECONFIG: profile}


def common_name(root_pem: bytes) -> str:
    """What devices call the authority in their lists.

    Raises:
        ValueError: this is no certificate.
    """
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    names = x509.load_pem_x509_certificate(root_pem).subject.get_attributes_for_oid(
        NameOID.COMMON_NAME
    )
    return str(names[0].value) if names else "Earshot"


def _profile(der: bytes, fingerprint: bytes, name: str) -> bytes:
    """The same authority for iOS and macOS; installing it again replaces it."""
    # Made from the certificate, so that another box's profile is another profile.
    ours = uuid.UUID(bytes=fingerprint[:16], version=4)
    about = (
        "Lets this device trust the certificates of one Earshot box, "
        "for private networks and the box's own names alone."
    )
    inner = {
        "PayloadType": "com.apple.security.root",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"earshot.{ours}.root",
        "PayloadUUID": str(uuid.uuid5(ours, "root")).upper(),
        "PayloadDisplayName": name,
        "PayloadDescription": about,
        "PayloadCertificateFileName": "root.der",
        "PayloadContent": der,
    }
    return plistlib.dumps(
        {
            "PayloadType": "Configuration",
            "PayloadVersion": 1,
            "PayloadIdentifier": f"earshot.{ours}",
            "PayloadUUID": str(ours).upper(),
            "PayloadDisplayName": name,
            "PayloadDescription": about,
            "PayloadRemovalDisallowed": False,
            "PayloadContent": [inner],
        }
    )
