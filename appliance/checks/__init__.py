"""The doctor: one known problem, one small file with ``CHECKS`` (a sentence) and ``look``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from appliance import logs
from appliance.checks.finding import Finding, fail
from appliance.errors import ApplianceError
from appliance.settings import Settings

# In the order in which they are shown: the machine, what is installed, what runs.
NAMES = (
    "data_folder", "disk_space", "memory", "gpu", "clock", "file_descriptors", "socket_paths",
    "network", "media_address", "certificate", "ports", "programs", "models", "sealed_environment", "livekit",
    "services", "backups", "update_copies",
)  # fmt: skip

log = logs.get(__name__)


@dataclass(frozen=True)
class Result:
    """A check and what it found."""

    name: str
    checks: str
    finding: Finding


def run_checks(settings: Settings, names: tuple[str, ...] = NAMES) -> list[Result]:
    """Every check in turn; none of them changes anything or raises."""
    return [run_check(settings, name) for name in names]


def run_check(settings: Settings, name: str) -> Result:
    """One check of ``NAMES``; it neither changes anything nor raises."""
    module = import_module(f"appliance.checks.{name}")
    try:
        finding: Finding = module.look(settings)
    except ApplianceError as error:
        finding = fail(error.message, error.hint)
    except Exception:  # one check that breaks must not hide what the others found
        log.exception("check broke", check=name)
        finding = fail(
            "This check itself failed.", f"{settings.data_dir / 'logs'} has the details."
        )
    return Result(name, module.CHECKS, finding)
