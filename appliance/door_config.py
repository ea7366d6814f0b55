"""What the front door's configuration says about other machines, where they may come in."""

from __future__ import annotations

from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING

from appliance.addresses import LOOPBACK, has_ipv6_loopback, with_port
from appliance.settings import PROJECT_DIR, Settings
from appliance.tls.places import intermediate, root, storage

if TYPE_CHECKING:
    from appliance.tls.preparing import Prepared

# All of this machine's, because its address may change. Of IPv6 none: what a router of today gives out
# is often reachable from the internet.
_EVERYWHERE = "tcp4/0.0.0.0"
# Who is the last before the box is known for certain here: the other machine itself. A recording from
# a phone may take long, but has to go on: less than 16 KiB a second, counted after a minute, is cut.
_SERVER = """
	servers {
		protocols h1
		max_header_size 64KB
		timeouts {
			read_header 10s
			read_body_idle 60s 16384
			idle 2m
		}
	}
"""
# An owner's certificate may name a server of its authority, which would be asked whether it is revoked.
_OPTIONS = """
	ocsp_stapling off
	default_sni $unnamed
	fallback_sni $unnamed
"""
_AUTHORITY = """
	pki {
		ca local {
			root {
				cert $root
			}
			intermediate {
				cert $intermediate
				key $key
			}
		}
	}
"""
# Each of these gets a certificate.
_NAMED = """
$names {
	import door
	tls {
		issuer internal {
			lifetime 90d
		}
	}
}
"""


@dataclass(frozen=True)
class DoorConfig:
    """Parts of the Caddyfile; the defaults are a closed door's.

    Attributes:
        automatic: whether certificates are made for the sites' names.
        options: global ones.
        listener: which of the ports the server's options are for that stand in the file; empty: all.
        server: those of the other ports.
        sites: what other machines reach.
        storage: where certificates are kept; empty: nowhere that lasts.
    """

    automatic: str = "off"
    options: str = ""
    listener: str = ""
    server: str = ""
    sites: str = ""
    storage: str = ""


def door_config(settings: Settings, door: Prepared | None) -> DoorConfig:
    """The parts for a door with these certificates; None: it is closed."""
    if door is None:
        return DoorConfig()
    front = settings.front
    names = ", ".join(f"https://{with_port(name, front.https_port, 0)}" for name in door.names)
    ours = Template(_NAMED).substitute(names=names)
    theirs = f"\ttls {quoted(door.own.chain)} {quoted(door.own.key)}\n" if door.own else ""
    text = (PROJECT_DIR / "config" / "Caddyfile.door").read_text(encoding="utf-8")
    return DoorConfig(
        # Automatic certificates of an owner's names would be asked for in the internet.
        automatic="off" if door.own else "disable_redirects",
        options=_options(settings, door),
        listener=f" {LOOPBACK}:{front.http_port}",
        server=_SERVER.lstrip("\n"),
        sites=Template(text).substitute(
            everywhere=f"{_EVERYWHERE} ::1" if has_ipv6_loopback() else _EVERYWHERE,
            named="" if door.own else ours,
            theirs=theirs,
            http_port=front.http_port,
            https_port=front.https_port,
            pages=quoted(settings.run_dir / "door"),
        ),
        storage=str(storage(settings)),
    )


def quoted(value: object) -> str:
    """A word of a Caddyfile."""
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _options(settings: Settings, door: Prepared) -> str:
    pair = intermediate(settings)
    text = _OPTIONS if door.own else _OPTIONS + _AUTHORITY.lstrip("\n")
    filled = Template(text).substitute(
        unnamed=door.unnamed, root=quoted(root(settings).certificate),
        intermediate=quoted(pair.certificate), key=quoted(pair.key),
    )  # fmt: skip
    return filled.lstrip("\n")
