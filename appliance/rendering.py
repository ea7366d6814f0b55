"""The three configuration files of the run folder, made from ``config/`` and the settings."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from appliance.addresses import LOOPBACK, has_ipv6_loopback, has_server_before, lan_address
from appliance.door_config import door_config, quoted
from appliance.secrets import livekit_keys
from appliance.settings import PROJECT_DIR, Settings

if TYPE_CHECKING:
    from appliance.tls.preparing import Prepared

# The same front door twice on the same ports: the kernel hands a new connection to one that lives,
# so a call whose signalling died with one of them resumes at the other at once.
FRONTS = ("front", "front-spare")
MODEL_SERVICES = ("stt", "llm", "tts")
# Strict: the last address that is not this machine's, so nobody can put a false one before it.
_OWN_MACHINE_IS_TRUSTED = """
		trusted_proxies static 127.0.0.0/8 ::1
		trusted_proxies_strict
""".lstrip("\n")


@dataclass(frozen=True)
class Program:
    """One program of supervisord's group."""

    name: str
    command: tuple[str, ...]
    stop_wait_s: int


def programs(settings: Settings) -> list[Program]:
    """What the box runs itself, in the order in which it is shown."""
    run = settings.run_dir
    drain_s = settings.agent.drain_s
    livekit = (str(settings.programs_dir / "livekit-server"), "--config", str(run / "livekit.yaml"))
    found = [
        # livekit-server waits for its callers without end; it may outlast the agent's goodbye, no more.
        (not settings.livekit.url, Program("livekit", livekit, drain_s + 4)),
        (not settings.stt.url, Program("stt", _service("stt"), 4)),
        (not settings.llm.url, Program("llm", _service("llm"), 4)),
        (not settings.tts.url, Program("tts", _service("tts"), 4)),
        (True, Program("agent", _service("agent"), drain_s + 3)),
        (True, Program("panel", _service("panel"), drain_s + 3)),
    ]
    found += [(True, Program(name, _caddy(settings, name), 4)) for name in FRONTS]
    return [program for ours, program in found if ours]


def _service(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"services.{name}")


def _caddy(settings: Settings, name: str) -> tuple[str, ...]:
    config = settings.run_dir / f"{name}.caddyfile"
    caddy = str(settings.programs_dir / "caddy")
    return (caddy, "run", "--adapter", "caddyfile", "--config", str(config))


def render(settings: Settings, held_back: Collection[str] = ()) -> None:
    """Write livekit.yaml, a Caddyfile per front door and supervisord.conf into the run folder, each 0600.

    Programs that are ``held_back`` are known to supervisord, which does not start them by itself.

    Raises:
        BadSettings: the configured LiveKit keys cannot be used, nor the certificates of an open door.
    """
    write_private(settings.run_dir / "livekit.yaml", livekit_yaml(settings))
    door = _prepared(settings) if settings.front.lan else None
    for name in FRONTS:
        write_private(settings.run_dir / f"{name}.caddyfile", caddyfile(settings, name, door))
    write_private(
        settings.run_dir / "supervisord.conf",
        supervisord_conf(settings, programs(settings), held_back),
    )


def _prepared(settings: Settings) -> Prepared:
    # Heavy, and needed where the door is open alone.
    from appliance.explaining import write
    from appliance.tls.preparing import prepare

    door = prepare(settings)
    write(settings)
    return door


def livekit_yaml(settings: Settings) -> str:
    """The media server's configuration, with the keys in it."""
    keys = livekit_keys(settings)
    return _template("livekit.yaml").substitute(
        port=settings.livekit.port,
        tcp_port=settings.livekit.tcp_port,
        udp_port=settings.livekit.udp_port,
        node_ip=json.dumps(lan_address(settings)),
        api_key=json.dumps(keys.api_key),
        api_secret=json.dumps(keys.api_secret),
        webhook_url=json.dumps(f"http://{LOOPBACK}:{settings.front.http_port}/internal/livekit"),
    )


def caddyfile(settings: Settings, name: str, door: Prepared | None = None) -> str:
    """The configuration of one of the ``FRONTS``; they differ in their own socket alone.

    Args:
        settings: the box's.
        name: which one.
        door: with what it is opened to other machines; None: it is closed.
    """
    parts = door_config(settings, door)
    return _template("Caddyfile").substitute(
        http_port=settings.front.http_port,
        automatic=parts.automatic,
        door_options=parts.options,
        listener=parts.listener,
        door_server=parts.server,
        door=parts.sites,
        # Only where a server with a certificate is told to stand before it: otherwise any program
        # of this machine could say that it comes from elsewhere.
        trusted=_OWN_MACHINE_IS_TRUSTED if has_server_before(settings) else "",
        addresses=f"{LOOPBACK} ::1" if has_ipv6_loopback() else LOOPBACK,
        own_socket=quoted(f"unix/{settings.socket(name)}|0600"),
        livekit_port=settings.livekit.port,
        panel=quoted(f"unix/{settings.socket('panel')}"),
        speech_mb=settings.stt.max_upload_mb + 1,
        storage=quoted(parts.storage or settings.run_dir / "caddy"),
    )


def supervisord_conf(
    settings: Settings, group: list[Program], held_back: Collection[str] = ()
) -> str:
    """The supervisor's configuration for these programs."""
    logs = settings.data_dir / "logs"
    sections = [
        _program_section(program, logs, starts=program.name not in held_back) for program in group
    ]
    return _template("supervisord.conf").substitute(
        project=_ini(str(PROJECT_DIR)),
        run=_ini(str(settings.run_dir)),
        logs=_ini(str(logs)),
        python=_ini(shlex.quote(sys.executable)),
        names=",".join(program.name for program in group),
        programs="\n".join(sections),
        announcer=_announcer(logs) if settings.front.lan and settings.front.mdns else "",
    )


def _announcer(logs: Path) -> str:
    """Outside the group: a name that cannot be announced keeps no box from being ready."""
    announcer = Program("mdns", (sys.executable, "-m", "appliance.mdns"), 3)
    differs = (
        # It ends at once, with a sentence in its log, where there is nothing to announce.
        ("startsecs", "0"),
        ("autorestart", "unexpected"),
        # The seal refuses multicast. This program, which the owner asked for, does nothing else.
        ("environment", 'LD_PRELOAD=""'),
    )
    return f"{_program_section(announcer, logs, differs)}\n"


def _program_section(
    program: Program, logs: Path, differs: Iterable[tuple[str, str]] = (), *, starts: bool = True
) -> str:
    lines = {
        "command": _ini(shlex.join(program.command)),
        # With supervisord's default of 1 s a program that dies at once counts as running.
        "startsecs": "5",
        "startretries": "5",
        "autostart": "true" if starts else "false",
        "autorestart": "true",
        # Children that outlive a program's SIGKILL go with it, but its SIGTERM is the program's alone.
        "killasgroup": "true",
        "stopasgroup": "false",
        "stopwaitsecs": str(program.stop_wait_s),
        "redirect_stderr": "true",
        "stdout_logfile": _ini(str(logs / f"{program.name}.log")),
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": "2",
        **dict(differs),
    }
    body = "\n".join(f"{key}={value}" for key, value in lines.items())
    return f"\n[program:{program.name}]\n{body}"


def write_private(path: Path, text: str) -> None:
    """Write a whole file at once, readable by its owner alone."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def _template(name: str) -> Template:
    return Template((PROJECT_DIR / "config" / name).read_text(encoding="utf-8"))


def _ini(value: str) -> str:
    # supervisord expands %(name)s in every value.
    return value.replace("%", "%%")
