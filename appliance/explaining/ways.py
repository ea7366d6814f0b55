"""How another device reaches the box, and by what it knows it: for the terminal and the panel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from appliance.addresses import lan_address, lan_url, with_port
from appliance.errors import BadSettings
from appliance.files import write_whole
from appliance.settings import Settings
from appliance.tls.state import DoorCertificate, door_certificate

# Twice as long as an IT person may be away; the box renews its own long before.
_SOON = timedelta(days=21)


@dataclass(frozen=True)
class WayIn:
    """The door to the network, or why it is closed."""

    url: str
    """Address of the app, e.g. ``https://192.168.1.20:8443``; empty while the door is closed."""
    plain_url: str
    """Address of the page that explains the certificate; empty while the door is closed."""
    certificate: DoorCertificate | None
    closed: str = ""
    """Why other devices cannot come in: ``setting`` (front.lan is off), ``network`` (this machine has
    none), ``start`` (the box was not started since); empty while they can."""
    moved_from: str = ""
    """The address at which the box was started, if this machine has another one now."""

    @property
    def ends_soon(self) -> bool:
        """Whether the owner's own certificate needs to be replaced; the box renews only its own."""
        found = self.certificate
        if found is None or not found.own or found.valid_until is None:
            return False
        return found.valid_until < datetime.now(UTC) + _SOON


def way_in(settings: Settings) -> WayIn:
    """The way in as these settings and the files in the data folder have it.

    Raises:
        BadSettings: the certificate cannot be used.
    """
    if not settings.front.lan:
        return WayIn("", "", None, "setting")
    certificate = certificate_of(settings)
    if certificate is None:
        return WayIn("", "", None, "start")
    url = lan_url(settings)
    if not url:
        return WayIn("", "", certificate, "network")
    host = urlsplit(url).hostname or ""
    plain_url = f"http://{with_port(host, settings.front.http_port, 80)}"
    return WayIn(url, plain_url, certificate, moved_from=moved_from(settings))


def keep_address(settings: Settings) -> None:
    """Write down the network's address as this start has it."""
    write_whole(_kept(settings), lan_address(settings))


def moved_from(settings: Settings) -> str:
    """The address at which the box was started, if this machine has another one now; else empty.

    The front door and the media server know the old one alone until the box is started again.
    """
    if not settings.front.lan:
        return ""
    try:
        began = _kept(settings).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    return began if began != lan_address(settings) else ""


def _kept(settings: Settings) -> Path:
    return settings.run_dir / "lan-address"


def certificate_of(settings: Settings) -> DoorCertificate | None:
    """The door's certificate; None before the first start with an open door.

    Raises:
        BadSettings: it cannot be used.
    """
    try:
        return door_certificate(settings)
    except (OSError, ValueError) as error:
        raise BadSettings(
            "certificate_unreadable", "The box's certificate for other devices cannot be read.",
            "Look at the folder tls in the data folder: its owner, its permissions and its files.",
        ) from error  # fmt: skip
