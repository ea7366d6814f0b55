"""``appliance address``: how other devices reach the box, and by what they know it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from appliance.explaining import WayIn

_LABEL = 14
_WIDE_FINGERPRINT = 47
# White on black whatever the terminal's own colours are: cameras read no code that is inverted.
_DRAWN, _RESET = "\x1b[40;97m", "\x1b[0m"
_CLOSED = {
    "setting": "To let other devices in, set front.lan to true (page Settings of the panel, or "
    "APPLIANCE_FRONT__LAN=true) and start the box again.",
    "network": "front.lan is on, but this machine has no network address: connect it, or set "
    "livekit.node_ip, and start the box again.",
    "start": "front.lan is on; other devices can come in once the box was started again.",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(address)


def address(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Show the address for phones and other computers, as a code too, and the certificate's fingerprint."""
    import json

    from appliance.explaining import way_in
    from appliance.running import as_started
    from appliance.settings import load_settings

    settings = as_started(load_settings())
    found = way_in(settings)
    if as_json:
        print(json.dumps(_plain(found, settings.front_url)))
    elif found.url:
        _show(found)
    else:
        print(f"Only this machine reaches the box: {settings.front_url}")
        print(_CLOSED[found.closed])


def _show(found: WayIn) -> None:
    print(_row("Address", found.url))
    certificate = found.certificate
    if certificate is not None and not certificate.own:
        print(_row("First visit", f"{found.plain_url} explains how a device trusts the box"))
    if certificate is not None:
        whose = "certificate" if certificate.own else "authority"
        print(_row("Fingerprint", f"SHA-256 of the {whose}; compare it on the device:"))
        for half in _halves(certificate.fingerprint):
            print(_row("", half))
    if found.ends_soon and certificate is not None and certificate.valid_until is not None:
        day = certificate.valid_until.strftime("%Y-%m-%d")
        print(_row("Note", f"your certificate ends on {day}: put a new one in its place"))
    if found.moved_from:
        print(_row("Note", f"the box was started at {found.moved_from}: start it again"))
    print()
    print(code_in_text(found.url, coloured=sys.stdout.isatty()))


def code_in_text(url: str, *, coloured: bool) -> str:
    """The address as a QR code of half-block characters; ``coloured``: with ANSI colours."""
    import io

    import segno

    drawn = io.StringIO()
    segno.make(url, error="m", micro=False).terminal(drawn, border=2, compact=True)
    lines = drawn.getvalue().splitlines()
    return "\n".join(f"{_DRAWN}{line}{_RESET}" if coloured else line for line in lines)


def _plain(found: WayIn, front_url: str) -> dict[str, object]:
    certificate = found.certificate
    ends = certificate.valid_until if certificate else None
    return {
        "open": bool(found.url),
        "url": found.url,
        "plain_url": found.plain_url,
        "local_url": front_url,
        "fingerprint": certificate.fingerprint if certificate else "",
        "own_certificate": bool(certificate and certificate.own),
        "names": list(certificate.names) if certificate else [],
        "valid_until": ends.isoformat() if ends else None,
        "closed": found.closed,
        "moved_from": found.moved_from,
    }


def _row(label: str, text: str) -> str:
    return f"{label:<{_LABEL}}{text}".rstrip()


def _halves(fingerprint: str) -> tuple[str, str]:
    return fingerprint[:_WIDE_FINGERPRINT], fingerprint[_WIDE_FINGERPRINT:].lstrip(":")
