"""What the running box was started with; the settings may have been changed since."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil

from appliance.rendering import write_private
from appliance.setting_groups import Group
from appliance.settings import Settings
from appliance.supervision import MARK

# Kept for whoever looks for the box; the rest of the settings is its programs' own affair.
_PORTS = {
    "front": ("http_port", "lan", "https_port"),
    "livekit": ("port", "tcp_port", "udp_port"),
    "agent": ("health_port",),
}


def keep_start(settings: Settings, supervisor_pid: int) -> None:
    """Write down the ports with which this box has been started, for as long as it runs."""
    kept = {
        group: {name: getattr(getattr(settings, group), name) for name in names}
        for group, names in _PORTS.items()
    }
    write_private(_path(settings), json.dumps({"supervisor": supervisor_pid, **kept}))


def as_started(settings: Settings) -> Settings:
    """The settings with the ports of the box that runs; unchanged where none does."""
    try:
        kept: dict[str, Any] = json.loads(_path(settings).read_text(encoding="utf-8"))
        if not _is_its_supervisor(kept["supervisor"], settings.run_dir):
            return settings
        return settings.model_copy(
            update={
                group: _with(getattr(settings, group), kept[group], names)
                for group, names in _PORTS.items()
            }
        )
    except (OSError, ValueError, KeyError, TypeError):
        return settings


def _with(group: Group, kept: dict[str, Any], names: tuple[str, ...]) -> Group:
    """These settings with what was kept of them, each of the kind that it is."""
    update = {name: type(getattr(group, name))(kept[name]) for name in names}
    return group.model_copy(update=update)


def _path(settings: Settings) -> Path:
    return settings.run_dir / "box.json"


def _is_its_supervisor(pid: int, run_dir: Path) -> bool:
    """Whether that process is still the box's: a number is given again to another."""
    try:
        return psutil.Process(pid).environ().get(MARK) == str(run_dir)
    except psutil.Error:
        return False
