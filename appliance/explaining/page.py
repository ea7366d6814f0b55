"""The page of plain http, as files that the front door serves without asking the panel."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.addresses import lan_url, with_port
from appliance.errors import NotReady
from appliance.explaining.authority import authority_files, common_name
from appliance.explaining.ways import certificate_of, keep_address
from appliance.settings import PROJECT_DIR, Settings
from appliance.tls.state import DoorCertificate

_SOURCE = PROJECT_DIR / "config" / "door"
_AS_THEY_ARE = ("door.css", "door.js", "icon.svg")


def write(settings: Settings) -> Path:
    """Write everything that plain http serves into the run folder; returns its folder.

    Raises:
        NotReady: there is no certificate yet.
        BadSettings: the certificate cannot be used.
    """
    certificate = certificate_of(settings)
    if certificate is None:
        raise NotReady(
            "certificate_missing", "There is no certificate for other devices yet.",
            "Start the box again; `scripts/appliance logs front` says more.",
        )  # fmt: skip
    folder = settings.run_dir / "door"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = {name: (_SOURCE / name).read_bytes() for name in _AS_THEY_ARE}
    files["index.html"] = _page(settings, certificate).encode("utf-8")
    if certificate.root_pem:
        files |= authority_files(certificate.root_pem)
    for old in folder.iterdir():
        # An owner's certificate has no authority of ours; what was offered before is not any more.
        if old.name not in files:
            old.unlink()
    for name, content in files.items():
        _replace(folder / name, content)
    keep_address(settings)
    return folder


def _page(settings: Settings, certificate: DoorCertificate) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_SOURCE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    port = settings.front.https_port
    return environment.get_template("index.html").render(
        # Without a network there is still this machine, as a container's host sees it.
        url=lan_url(settings) or f"https://{with_port('localhost', port, 443)}",
        port=port,
        names=certificate.names,
        own=certificate.own,
        fingerprint=certificate.fingerprint,
        authority=common_name(certificate.root_pem) if certificate.root_pem else "",
    )


def _replace(path: Path, content: bytes) -> None:
    """Whole at once: a running front door may be asked for it meanwhile."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)
