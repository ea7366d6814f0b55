"""What must be true before anything is started; each failure is one sentence."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from appliance.addresses import LOOPBACK, find_node_ip, has_ipv6_loopback
from appliance.errors import ApplianceError, BadInput, BadSettings
from appliance.personas import find_persona
from appliance.rendering import programs
from appliance.secrets import livekit_keys, local_token
from appliance.settings import Settings

# Below this the database and the logs cannot be written for long.
LEAST_FREE_MB = 200
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - the media ports listen there, and an open door
_NO_ADDRESS = (
    "This machine has no network address besides loopback, and calls cannot connect without one. "
    "Plug in a cable, join a network, or add a dummy interface (docs/troubleshooting.md)."
)


@dataclass(frozen=True)
class Port:
    """A port that the box will listen on."""

    setting: str
    number: int
    address: str
    kind: socket.SocketKind


def prepare_folders(settings: Settings) -> None:
    """Make the data folder and what belongs in it, each 0700.

    Raises:
        BadSettings: a folder cannot be made or written, or in a place of all users another has it.
    """
    exposed = settings.exposed_run_dirs
    logs = settings.data_dir / "logs"
    ours = (settings.data_dir, settings.run_dir, settings.secrets_dir, logs, *exposed)
    for folder in (
        settings.data_dir, settings.run_dir.parent, settings.run_dir, settings.secrets_dir,
        logs, settings.data_dir / "personas", settings.models_path,
    ):  # fmt: skip
        with _explained(folder):
            existed = folder.is_dir()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder in exposed:
                _check_owner(folder)
            # A folder that was there before, the owner's models say, may be shared by intent.
            if folder in ours or not existed:
                folder.chmod(0o700)
            draft = folder / f".writable.{os.getpid()}"
            if folder in ours:
                draft.touch()
                draft.unlink()


def _check_owner(folder: Path) -> None:
    """Refuse a folder that somebody else has put where ours belongs."""
    found = folder.lstat()
    if stat.S_ISLNK(found.st_mode):
        what = "is a link"
    elif found.st_uid != os.getuid():
        what = "belongs to another user"
    else:
        return
    raise BadSettings(
        "run_folder_not_ours", f"The folder {folder} {what}, and Earshot's sockets would lie in it.",
        "Remove it, or set APPLIANCE_DATA_DIR to a folder with a shorter path.",
    )  # fmt: skip


class _explained:  # noqa: N801 - reads as the statement it is
    """Turn a failing file operation into a sentence."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, OSError):
            return
        reason = (error.strerror or "it cannot be written").lower()
        raise BadSettings(
            "data_folder_unusable", f"The folder {self._folder} cannot be used: {reason}.",
            "Mend it, or set APPLIANCE_DATA_DIR to a folder that you own.",
        ) from error  # fmt: skip


def check(settings: Settings) -> list[str]:
    """Everything that can be known before a program runs; returns warnings.

    Raises:
        ApplianceError: the first thing that would keep the box from starting.
    """
    for step in (check_disk, check_programs, check_ports, _check_keys, _check_persona):
        step(settings)
    # Heavy, and needed here alone.
    from appliance.store import upgrade

    upgrade(settings.store_url)
    warnings = _check_door(settings)
    if not settings.livekit.node_ip and find_node_ip() == LOOPBACK:
        warnings.append(_NO_ADDRESS)
    return warnings


def _check_door(settings: Settings) -> list[str]:
    """The certificates of an open door, made or renewed where that is needed."""
    if not settings.front.lan:
        return []
    # Heavy, and needed where the door is open alone.
    from appliance.tls.preparing import prepare

    return prepare(settings).warnings


def check_models(settings: Settings) -> None:
    """Pass if the models that will be loaded are whole.

    Raises:
        ApplianceError: a file is missing or is not what it was.
    """
    # Heavy, and needed here alone.
    from appliance.catalogue import verify_quick

    verify_quick(settings)


def _check_keys(settings: Settings) -> None:
    livekit_keys(settings)
    local_token(settings)


def _check_persona(settings: Settings) -> None:
    from appliance.catalogue.personas import check_persona

    check_persona(settings, find_persona(settings.persona, settings.persona_dirs))


def check_disk(settings: Settings) -> None:
    """Refuse a disk that is all but full."""
    free_mb = shutil.disk_usage(settings.data_dir).free // 1_000_000
    if free_mb < LEAST_FREE_MB:
        raise ApplianceError(
            "disk_full", f"Only {free_mb} MB are free in {settings.data_dir}; Earshot needs {LEAST_FREE_MB} MB.",
            "Free some space, or set APPLIANCE_DATA_DIR to a folder on another disk.",
        )  # fmt: skip


def check_programs(settings: Settings) -> None:
    """Refuse to start without livekit-server or caddy."""
    for program in programs(settings):
        path = Path(program.command[0])
        if not os.access(path, os.X_OK):
            raise ApplianceError(
                "program_missing",
                f"{path} is missing or cannot be run.",
                "scripts/setup builds it.",
            )


def ports(settings: Settings) -> list[Port]:
    """Every port that the box will listen on."""
    tcp, udp = socket.SOCK_STREAM, socket.SOCK_DGRAM
    found = [Port("front.http_port", settings.front.http_port, LOOPBACK, tcp)]
    if has_ipv6_loopback():
        found.append(Port("front.http_port", settings.front.http_port, "::1", tcp))
    if settings.front.lan:
        found += [
            Port("front.http_port", settings.front.http_port, ANY_ADDRESS, tcp),
            Port("front.https_port", settings.front.https_port, ANY_ADDRESS, tcp),
        ]
    if not settings.livekit.url:
        found += [
            Port("livekit.port", settings.livekit.port, LOOPBACK, tcp),
            Port("livekit.tcp_port", settings.livekit.tcp_port, ANY_ADDRESS, tcp),
            Port("livekit.udp_port", settings.livekit.udp_port, ANY_ADDRESS, udp),
        ]
    found.append(Port("agent.health_port", settings.agent.health_port, LOOPBACK, tcp))
    return found


def check_ports(settings: Settings) -> None:
    """Refuse a port that two settings share, that is taken, or that needs root."""
    seen: dict[tuple[int, socket.SocketKind], str] = {}
    for port in ports(settings):
        other = seen.setdefault((port.number, port.kind), port.setting)
        if other != port.setting:
            raise BadSettings(
                "port_twice", f"The settings {other} and {port.setting} are both port {port.number}.",
                "Give one of them another number.",
            )  # fmt: skip
        try_port(settings, port)


def try_port(settings: Settings, port: Port) -> None:
    """Refuse a port that is taken or needs root; says who has it."""
    family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
    with socket.socket(family, port.kind) as probe:
        if port.kind == socket.SOCK_STREAM:
            # As the servers do it: connections of the last run that linger do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.address, port.number))
        except PermissionError as error:
            raise _port_error(
                settings, port, "needs root's permission", "port_forbidden"
            ) from error
        except OSError as error:
            owner = _owner(port)
            raise _port_error(
                settings, port, f"is in use{f' by {owner}' if owner else ''}", "port_in_use"
            ) from error


def _port_error(settings: Settings, port: Port, what: str, code: str) -> BadInput:
    kind = "UDP" if port.kind == socket.SOCK_DGRAM else "TCP"
    variable = "APPLIANCE_" + port.setting.upper().replace(".", "__")
    return BadInput(
        code, f"{kind} port {port.number} ({port.setting}) {what}.",
        f"Stop that program, or choose another port with {variable} or in {settings.settings_file}.",
    )  # fmt: skip


def _owner(port: Port) -> str:
    """Name and id of the program on this port, where this user may see it."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="inet"):
            if (
                connection.laddr and connection.laddr.port == port.number and connection.type == port.kind
                and connection.pid and connection.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)
            ):  # fmt: skip
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""
