"""Everything that helps somebody else to help, in one zip without a secret, a name or a spoken word."""

from __future__ import annotations

import io
import json
import platform
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from appliance import __version__, logs
from appliance.errors import ApplianceError
from appliance.gpu import reader_of
from appliance.host import HostReader
from appliance.logfiles import LogFile, LogLine, log_names, log_path
from appliance.settings import Settings
from appliance.store import Store
from appliance.store.engine import url_secrets
from appliance.supervision import read_records

LINES = 500
"""Of each log, the latest."""
_TAIL_BYTES = 256_000
_LEAST_SECRET = 8
_CALLS_LOOKED_AT = 500
# Who is in which room, in the words of LiveKit, of its agents and of ours.
_NAMING = frozenset({"room", "room_name", "participant", "participant_identity", "identity"})
# What the box itself calls a room or a participant; "unresolved" is LiveKit's.
_OUR_NAME = re.compile(
    r"(?:call|ended|(?:browser-)?doctor|caller|guest)-[0-9a-f]{12,}|agent-AJ_[A-Za-z0-9]+|unresolved"
)
_API_KEY = re.compile(r"\bearshot_[A-Za-z0-9_-]{6,}")
_LIBRARIES = (
    "livekit-agents", "livekit", "livekit-api", "faster-whisper", "ctranslate2", "llama-cpp-python",
    "piper-tts", "onnxruntime", "onnxruntime-gpu", "fastapi", "uvicorn", "pydantic", "sqlalchemy",
    "numpy", "nvidia-ml-py", "supervisor",
)  # fmt: skip
_README = """\
What an Earshot box says of itself, to be given to somebody who helps.

Not in it: what was said in calls, passwords, keys, tokens, names of callers, of links and of
rooms that have their own, the values of secret settings. In it: addresses of the local network, names of models and of folders.
Look through it before you hand it on.

doctor.json    the doctor's findings
status.json    the programs
versions.json  of Earshot and of what it is made of
settings.toml  what the owner has set
host.json      the machine and its GPU
logs/          the last lines of each program
"""

log = logs.get(__name__)
Cleaner = Callable[[str], str]


def make_bundle(settings: Settings, store: Store, parts: dict[str, Any], toml: str) -> bytes:
    """The zip. Blocks for a second or two.

    Args:
        settings: the box's.
        store: asked for the names that must not be in it.
        parts: JSON files by name.
        toml: the settings without secrets.
    """
    clean = secret_cleaner(settings)
    logged = {name: _lines(log_path(settings, name)) for name in log_names(settings)}
    unnamed = name_cleaner(_names(store) | set(_logged_names(logged.values())))
    parts = {
        **parts,
        "versions.json": _versions(settings),
        "host.json": _host(settings),
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("README.txt", _README)
        for name, value in parts.items():
            text = json.dumps(logs.clean(value), indent=2, default=str, ensure_ascii=False)
            bundle.writestr(name, clean(text))
        bundle.writestr("settings.toml", clean(toml))
        for name, lines in logged.items():
            if text := _log_text(lines):
                bundle.writestr(f"logs/{name}.log", unnamed(clean(text)))
    return file.getvalue()


def secret_cleaner(settings: Settings) -> Cleaner:
    """Takes every secret of this box out of a text, wherever it stands."""
    secrets = sorted(_secrets(settings), key=len, reverse=True)

    def clean(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, logs.REMOVED)
        return _API_KEY.sub(logs.REMOVED, text)

    return clean


def name_cleaner(names: Iterable[str]) -> Cleaner:
    """Takes these names out of a text, where they stand as whole words, also as JSON writes them."""
    plain = {name.strip() for name in names if len(name.strip()) > 1}
    written = plain | {json.dumps(name, ensure_ascii=False)[1:-1] for name in plain}
    if not written:
        return lambda text: text
    longest_first = sorted(written, key=len, reverse=True)
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)")
    return lambda text: pattern.sub(logs.REMOVED, text)


def _secrets(settings: Settings) -> set[str]:
    found = {settings.livekit.api_secret.get_secret_value(), settings.livekit.api_key}
    found |= {one.api_key.get_secret_value() for one in (settings.stt, settings.llm, settings.tts)}
    found |= url_secrets(settings.database_url.get_secret_value())
    with suppress(OSError):
        for path in settings.secrets_dir.iterdir():
            found.add(path.read_text(encoding="utf-8", errors="replace").strip())
    return {secret for secret in found if len(secret) >= _LEAST_SECRET}


def _names(store: Store) -> set[str]:
    """Names of persons that the store knows: they may stand in a program's log by accident."""
    found: set[str] = set()
    try:
        for session in store.sessions.list(_CALLS_LOOKED_AT):
            found |= {session.caller_name, session.room_name}
        found |= {link.name for link in store.links.list()}
    except ApplianceError as error:
        log.warning("names_not_read", code=error.code)
    return {name for name in found if not _OUR_NAME.fullmatch(name)}


def _logged_names(logs_lines: Iterable[list[LogLine]]) -> Iterator[str]:
    """Names that others gave to rooms and participants: the store forgets them, or never knew them."""
    pending: list[Any] = [line.fields for lines in logs_lines for line in lines]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            pending += value.values()
            names = (one for key, one in value.items() if str(key).lower() in _NAMING)
            yield from (
                name for name in names if isinstance(name, str) and not _OUR_NAME.fullmatch(name)
            )


def _lines(path: Path) -> list[LogLine]:
    try:
        return LogFile(path, tail_bytes=_TAIL_BYTES).last()[-LINES:]
    except (ApplianceError, OSError):
        return []


def _log_text(lines: Iterable[LogLine]) -> str:
    kept = []
    for line in lines:
        cleaned = line.cleaned()
        kept.append(
            json.dumps(cleaned.fields, ensure_ascii=False, default=str)
            if cleaned.fields
            else cleaned.raw
        )
    return "".join(f"{line}\n" for line in kept).encode("utf-8", "replace").decode("utf-8")


def _versions(settings: Settings) -> dict[str, Any]:
    libraries = {}
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            libraries[name] = metadata.version(name)
    programs = settings.programs_dir
    return {
        "earshot": __version__,
        "python": sys.version.split()[0],
        "libraries": libraries,
        "livekit-server": _said([str(programs / "livekit-server"), "--version"]),
        "caddy": _said([str(programs / "caddy"), "version"]),
    }


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "it does not run"
    return (done.stdout or done.stderr).strip()[:200]


def _host(settings: Settings) -> dict[str, Any]:
    system = {}
    with suppress(OSError):
        system = {
            key: value for key, value in platform.freedesktop_os_release().items()
            if key in ("ID", "VERSION_ID", "PRETTY_NAME")
        }  # fmt: skip
    return {
        "system": system,
        "kernel": platform.release(),
        "machine": platform.machine(),
        "host": asdict(HostReader(settings.data_dir).read()),
        "gpu": asdict(reader_of(settings).read()),
        "programs_ended": {
            name: {"restarts": record.restarts, "given_up": record.given_up}
            for name, record in read_records(settings.run_dir).items()
        },
    }
