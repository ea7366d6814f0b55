"""supervisord's event listener: counts deaths and ends crash loops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from appliance import logs
from appliance.errors import ApplianceError
from appliance.rendering import write_private
from appliance.supervision import (
    GROUP,
    Record,
    Supervisor,
    read_records,
    records_path,
    records_text,
)

LIMIT = 5
WINDOW_S = 60.0
# Without these there is no box: nobody could call, or see why.
CORE = frozenset({"livekit", "panel", "front"})

_log = logs.get(__name__)


@dataclass(frozen=True)
class Event:
    """A change of a program's state."""

    name: str  # e.g. PROCESS_STATE_EXITED
    program: str
    group: str
    from_state: str
    clean: bool = False
    """It ended with status 0."""


class Watch:
    """Keeps the record of one box."""

    def __init__(self, run_dir: Path, supervisor: Supervisor) -> None:
        self._run_dir = run_dir
        self._supervisor = supervisor
        # A watch that was itself killed goes on where it was.
        self._records = read_records(run_dir)

    def take(self, event: Event, now_s: float) -> None:
        """Record one event; stop the program when it died too often."""
        if event.group != GROUP:
            return
        record = self._records.setdefault(event.program, Record())
        if event.name in ("PROCESS_STATE_EXITED", "PROCESS_STATE_BACKOFF"):
            record.restarts += 1
            record.exits = [at for at in record.exits if 0 <= now_s - at < WINDOW_S] + [now_s]
            _log.warning(
                "program_ended", program=event.program, times=len(record.exits), clean=event.clean
            )
            if len(record.exits) >= LIMIT and not record.given_up:
                self._give_up(
                    event.program, record, f"It ended {LIMIT} times within {WINDOW_S:.0f} s"
                )
        elif event.name == "PROCESS_STATE_FATAL" and not record.given_up:
            self._give_up(event.program, record, "It ended at every start")
        elif event.name == "PROCESS_STATE_STARTING" and event.from_state in ("STOPPED", "FATAL"):
            record.given_up, record.exits = "", []
        self._save()

    def _give_up(self, program: str, record: Record, what: str) -> None:
        record.given_up = f"{what} and was stopped. `scripts/appliance logs {program}` shows why."
        _log.error("program_given_up", program=program, reason=record.given_up)
        # The reason is on disk before the program, or the whole box, is stopped.
        self._save()
        try:
            if program in CORE:
                self._supervisor.shutdown()
            else:
                self._supervisor.stop(program)
        except ApplianceError as error:
            _log.error("stop_failed", program=program, reason=error.message)

    def _save(self) -> None:
        try:
            write_private(records_path(self._run_dir), records_text(self._records))
        except OSError as error:
            # A full disk must not end the watch.
            _log.error("record_not_written", errno=error.errno)


def read_event(source: TextIO) -> Event | None:
    """The next event in supervisord's protocol; None when supervisord is gone."""
    header = _fields(source.readline())
    if "len" not in header:
        return None
    payload = _fields(source.read(int(header["len"])))
    return Event(
        header["eventname"],
        payload.get("processname", ""),
        payload.get("groupname", ""),
        payload.get("from_state", ""),
        payload.get("expected") == "1",
    )


def _fields(line: str) -> dict[str, str]:
    return dict(part.split(":", 1) for part in line.split() if ":" in part)
