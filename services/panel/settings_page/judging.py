"""What is wrong with a set of values beyond each one's own bounds, and what to know before saving."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from appliance.backup.keys import recipient_of
from appliance.catalogue.personas import check_persona
from appliance.errors import ApplianceError, BadSettings
from appliance.personas import find_persona
from appliance.preflight import ports, try_port
from appliance.secrets import livekit_keys
from appliance.settings import Settings
from appliance.settings_file import Values, effective, problems

_KEYS = ("livekit.api_key", "livekit.api_secret")
_ELSEWHERE = {
    "livekit.url": "The sound of calls",
    "stt.url": "What callers say",
    "llm.url": "What callers say, as text,",
    "tts.url": "What the assistant answers, as text,",
}


def judge(running: Settings, after: Values, names: list[str]) -> dict[str, ApplianceError]:
    """What keeps these values from being saved, by the name of the setting.

    Blocks: it tries ports and reads personas.

    Args:
        running: the settings of the box as it is.
        after: what settings.toml would set.
        names: the settings that differ from the file as it is.
    """
    found: dict[str, ApplianceError] = dict(problems(after))
    if found:
        return found
    wished = effective(running, after)
    found |= _ports(running, wished, names)
    if set(names) & set(_KEYS):
        try:
            livekit_keys(wished)
        except BadSettings as error:
            found[next(name for name in _KEYS if name in names)] = error
    if "persona" in names:
        try:
            check_persona(wished, find_persona(wished.persona, wished.persona_dirs))
        except ApplianceError as error:
            found["persona"] = error
    if "backup.recipient" in names and wished.backup.recipient:
        try:
            recipient_of(wished)
        except BadSettings as error:
            found["backup.recipient"] = error
    if "livekit.node_ip" in names and not _is_address(wished.livekit.node_ip):
        found["livekit.node_ip"] = BadSettings(
            "address_invalid", f"{wished.livekit.node_ip!r} is not an IP address.",
            "Write one like 192.168.1.20, or leave it empty.",
        )  # fmt: skip
    return found


def notes(after: Values, names: list[str]) -> list[str]:
    """What the owner should know before saving these, one sentence each."""
    found = [
        f"{what} goes to {_host(after[name])} then; the box's programs refuse public addresses."
        for name, what in _ELSEWHERE.items()
        if name in names and after.get(name)
    ]
    if "front.lan" in names and after.get("front.lan"):
        found.append(
            "After the next start other machines of the network reach the sign-in page; "
            "the page Other devices says how."
        )
    if "front.mdns" in names and after.get("front.mdns"):
        found.append("The box then sends its name and address to the whole network by multicast.")
    if "front.http_port" in names:
        port = after.get("front.http_port", 8080)
        found.append(f"After the next start the page is at http://localhost:{port}.")
    if set(names) & set(_KEYS):
        found.append("Tokens for calls that were handed out before stop working.")
    if "backup.recipient" in names and after.get("backup.recipient"):
        found.append("Backups that were made before still need the key of before.")
    if "backup.recipient" in names and not after.get("backup.recipient"):
        found.append("No more backups are made then.")
    if "access.keep_calls_days" in names and after.get("access.keep_calls_days", 30) != 0:
        found.append("Calls that are older than the new limit are deleted soon after.")
    return found


def _ports(running: Settings, wished: Settings, names: list[str]) -> dict[str, ApplianceError]:
    found: dict[str, ApplianceError] = {}
    ours = {(port.number, port.kind) for port in ports(running)}
    seen: dict[tuple[int, socket.SocketKind], str] = {}
    for port in ports(wished):
        other = seen.setdefault((port.number, port.kind), port.setting)
        if other != port.setting:
            changed = port.setting if port.setting in names else other
            found[changed] = BadSettings(
                "port_twice", f"The settings {other} and {port.setting} are both port {port.number}.",
                "Give one of them another number.",
            )  # fmt: skip
        elif _is_new(port.setting, names) and (port.number, port.kind) not in ours:
            try:
                try_port(wished, port)
            except ApplianceError as error:
                found.setdefault(port.setting, error)
    return found


def _is_new(setting: str, names: list[str]) -> bool:
    """Whether a port is another one than before, or was not used."""
    return setting in names or (setting == "front.https_port" and "front.lan" in names)


def _is_address(text: str) -> bool:
    try:
        return not text or bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _host(url: Any) -> str:
    """An address without a password in it."""
    return str(url).partition("://")[2].rpartition("@")[2] or str(url)
