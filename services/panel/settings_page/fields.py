"""What the page and the API show of a setting; made from the setting's own field."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SecretStr

from appliance.setting_effects import RESTARTS, WHOLE_BOX
from appliance.settings import Settings, environment_name, setting_fields
from appliance.settings_file import defaults, plain, why_fixed
from services.panel.box.names import title_of

Value = bool | int | float | str | list[str] | None
Kind = Literal["text", "integer", "number", "choice", "list", "secret", "switch"]

REMOVED = "[removed]"
_USER_IN_URL = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_UNITS = {
    "_s": "seconds", "_days": "days", "_mb": "megabytes", "_tokens": "tokens", "_chars": "characters",
    "_ms": "milliseconds",
}  # fmt: skip
# Some groups are named for the house's own words in the documentation.
_TITLES = {
    "": "The box",
    "access": "Sign-in and stored calls",
    "agent": "Calls",
    "tts": "The voice: text to speech",
}
# Where the name itself says too little to somebody who sees it for the first time.
_LABELS = {
    "persona": "Default persona",
    "public_url": "Address in links and QR codes",
    "front.http_port": "Port of the page",
    "gpu": "GPU",
    "front.cors_origins": "Other sites",
    "front.lan": "Open to the network",
    "front.https_port": "Port for the network",
    "front.names": "Further names",
    "front.mdns": "Announce by multicast DNS",
    "access.idle_s": "Sign out when idle for",
    "access.longest_s": "Longest sign-in",
    "access.keep_calls_days": "Keep calls for",
    "livekit.url": "Another media server",
    "livekit.api_key": "API key",
    "livekit.api_secret": "API secret",
    "livekit.port": "Port for programs",
    "livekit.tcp_port": "TCP port for sound",
    "livekit.udp_port": "UDP port for sound",
    "livekit.node_ip": "Address for callers",
    "livekit.token_ttl_s": "Tokens are valid for",
    "livekit.room_name": "Shared call",
    "agent.health_port": "Port of the health page",
    "agent.idle_processes": "Processes kept warm",
    "agent.speculate_after_s": "Begins to think after",
    "agent.barge_in_after_s": "Lets itself be interrupted after",
    "agent.drain_s": "Waits for calls when stopped",
    "agent.max_call_s": "Longest call",
    "stt.url": "Another speech recognition",
    "stt.api_key": "Its key",
    "stt.max_upload_mb": "Largest file",
    "stt.max_audio_s": "Longest recording",
    "llm.url": "Another language model",
    "llm.api_key": "Its key",
    "llm.no_thinking": "It is told not to think",
    "llm.context_tokens": "Context",
    "llm.gpu_layers": "Layers on the GPU",
    "tts.url": "Another voice",
    "tts.api_key": "Its key",
    "tts.model": "Its model",
    "tts.gain": "Volume",
    "tts.workers": "Processor cores",
    "tts.cache_mb": "Memory for repeated sentences",
    "tts.max_chars": "Longest text",
    "backup.recipient": "Key of the backups",
    "backup.hour": "Hour of the backup",
    "backup.keep": "Backups kept",
    "backup.dir": "Folder of the backups",
}


class SettingView(BaseModel):
    """One setting. ``value`` is what the next start sees; that of a secret is never given."""

    model_config = ConfigDict(extra="forbid")
    name: str
    label: str
    help: str
    unit: str
    kind: Kind
    choices: list[str]
    least: float | None
    most: float | None
    example: str
    default: Value
    value: Value
    is_set: bool
    source: Literal["default", "file", "environment"]
    variable: str
    editable: bool
    why_fixed: str
    restarts: list[str]
    restarts_said: str
    problem: str = ""


class GroupView(BaseModel):
    """Settings that belong together."""

    model_config = ConfigDict(extra="forbid")
    name: str
    title: str
    settings: list[SettingView]


@cache
def _fields() -> dict[str, Any]:
    return dict(setting_fields())


@cache
def _defaults() -> dict[str, Any]:
    return defaults()


def is_secret(name: str) -> bool:
    """Whether this setting's value is never shown."""
    field = _fields().get(name)
    return field is not None and field.annotation is SecretStr


def safe(name: str, value: Any) -> Value:
    """A value as it may leave the box: no secret, and no password inside an address."""
    if is_secret(name):
        return None
    if isinstance(value, str):
        return _USER_IN_URL.sub(REMOVED, value)
    if isinstance(value, list):
        return [_USER_IN_URL.sub(REMOVED, str(one)) for one in value]
    return value if isinstance(value, bool | int | float) or value is None else str(value)


def shown(name: str, value: Any) -> str:
    """A value in words, for a table of changes."""
    if is_secret(name):
        return "set" if value else "not set"
    value = safe(name, value)
    if isinstance(value, list):
        return ", ".join(value) or "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "not set" if value is None else str(value) if value != "" else "empty"


def programs_said(programs: Iterable[str]) -> str:
    """Programs by the names that pages call them by."""
    titles = [title_of(name) for name in programs if name not in WHOLE_BOX]
    if not titles:
        return "the whole box"
    # In the middle of a sentence, but for abbreviations.
    return ", ".join(one[0].lower() + one[1:] for one in titles)


def default_of(name: str) -> Any:
    """A setting's default, as TOML has it."""
    return _defaults()[name]


def group_views(
    running: Settings, values: dict[str, Any], problems: dict[str, str], *, editable: bool = True
) -> list[GroupView]:
    """Every setting in its group.

    Args:
        running: what the panel was started with; the environment's values are taken from it.
        values: what settings.toml sets.
        problems: what is wrong with a setting, by name.
        editable: False where the file cannot be changed now.
    """
    groups: dict[str, list[SettingView]] = {}
    for name in _fields():
        view = _view(running, name, values, editable=editable)
        view.problem = problems.get(name, "")
        groups.setdefault(name.rpartition(".")[0], []).append(view)
    for views in groups.values():
        views.sort(key=lambda view: bool(why_fixed(view.name, values)))
    return [
        GroupView(name=group, title=_title(group), settings=views)
        for group, views in groups.items()
    ]


def _view(running: Settings, name: str, values: dict[str, Any], *, editable: bool) -> SettingView:
    field, variable = _fields()[name], environment_name(name)
    kind, choices = _kind(field.annotation)
    value, source = _value(running, name, values, variable)
    why = why_fixed(name, values)
    if variable:
        why = f"The environment variable {variable} sets it; remove that to set it here."
    return SettingView(
        name=name, label=_label(name), help=field.description or "", unit=_unit(name), kind=kind,
        choices=choices, least=_bound(field, "ge", "gt"), most=_bound(field, "le", "lt"),
        example=str(field.examples[0]) if field.examples else "",
        default=safe(name, default_of(name)), value=safe(name, value),
        is_set=value not in ("", None, []), source=source, variable=variable,
        editable=editable and not why, why_fixed=why, restarts=list(RESTARTS[name]),
        restarts_said=programs_said(RESTARTS[name]),
    )  # fmt: skip


def _value(
    running: Settings, name: str, values: dict[str, Any], variable: str
) -> tuple[Any, Literal["default", "file", "environment"]]:
    if variable or name == "data_dir":
        value: Any = running
        for part in name.split("."):
            value = getattr(value, part)
        return plain(value), "environment" if variable else "default"
    if name in values:
        return values[name], "file"
    return default_of(name), "default"


def _kind(annotation: Any) -> tuple[Kind, list[str]]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        annotation = next(p for p in typing.get_args(annotation) if p is not type(None))
    if typing.get_origin(annotation) is Literal:
        return "choice", [str(one) for one in typing.get_args(annotation)]
    if typing.get_origin(annotation) is list:
        return "list", []
    kinds: dict[Any, Kind] = {
        bool: "switch", int: "integer", float: "number", SecretStr: "secret", str: "text",
        Path: "text",
    }  # fmt: skip
    return kinds[annotation], []


def _bound(field: Any, *rules: str) -> float | None:
    for rule in field.metadata:
        for name in rules:
            if getattr(rule, name, None) is not None:
                return float(getattr(rule, name))
    return None


def _unit(name: str) -> str:
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")


def _label(name: str) -> str:
    if name in _LABELS:
        return _LABELS[name]
    leaf = name.rpartition(".")[2]
    words = leaf.removesuffix(next((end for end in _UNITS if leaf.endswith(end)), ""))
    return words.replace("_", " ").capitalize()


def _title(group: str) -> str:
    if group in _TITLES:
        return _TITLES[group]
    kind: Any = Settings.model_fields[group].annotation
    return (kind.__doc__ or group).strip().splitlines()[0].rstrip(".")
