"""Saved changes that a program has not read yet: it reads them when it starts."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from appliance import logs
from appliance.errors import ApplianceError
from appliance.rendering import write_private
from appliance.setting_effects import RESTARTS, WHOLE_BOX, restarts
from appliance.settings import Settings
from appliance.supervision import Supervisor
from services.panel.settings_page.fields import programs_said

_FILE = "settings-waiting.json"

log = logs.get(__name__)


class Waiting(BaseModel):
    """Settings that are saved and do not count yet, and the programs to restart for them."""

    model_config = ConfigDict(extra="forbid")
    settings: list[str]
    programs: list[str]
    programs_said: str


@dataclass
class WaitingList:
    """Kept in the run folder, so that it outlives the panel and ends with what it is about."""

    settings: Settings
    supervisor: Supervisor

    def add(self, names: list[str]) -> None:
        """These settings have just been saved."""
        known = self._read() | dict.fromkeys(names, time.time())
        try:
            write_private(self.settings.run_dir / _FILE, json.dumps(known))
        except OSError as error:
            # What was saved is saved; only the reminder is missing.
            log.warning("waiting_list_not_kept", errno=error.errno)

    def look(self) -> Waiting:
        """What waits now. Asks supervisord since when each program runs."""
        known = self._read()
        if not known:
            return Waiting(settings=[], programs=[], programs_said="")
        since = self._since()
        left: dict[str, list[str]] = {}
        for name, moment in known.items():
            late = [p for p in RESTARTS.get(name, ()) if since.get(p, 0.0) < int(moment)]
            if late:
                left[name] = late
        programs = {program for late in left.values() for program in late}
        ordered = [program for program in restarts(list(left)) if program in programs]
        said = programs_said(ordered) if ordered else ""
        return Waiting(settings=sorted(left), programs=ordered, programs_said=said)

    def _since(self) -> dict[str, float]:
        """Since when each program runs, in seconds since 1970; the whole box too."""
        found: dict[str, float] = {}
        # Rendered at each start of the box and never in between.
        rendered = self.settings.run_dir / "supervisord.conf"
        if rendered.exists():
            found[WHOLE_BOX[0]] = rendered.stat().st_mtime
        try:
            for name, process in self.supervisor.processes().items():
                if process.state in ("RUNNING", "STARTING"):
                    found[name] = time.time() - process.uptime_s
        except ApplianceError as error:
            log.debug("supervisor_not_asked", code=error.code)
        return found

    def _read(self) -> dict[str, float]:
        try:
            known = json.loads((self.settings.run_dir / _FILE).read_text(encoding="utf-8"))
            return {str(name): float(moment) for name, moment in known.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}
