"""What went wrong lately, in plain sentences with what to do: from records, calls and logs."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from appliance import logs
from appliance.errors import ApplianceError
from appliance.logfiles import LogFile, LogLine, log_names, log_path
from appliance.settings import Settings
from appliance.store import EndState, Session, Store
from appliance.supervision import read_records
from services.panel.box.names import title_of

MOST = 20
_DAYS = 7
_CALLS_LOOKED_AT = 100
_LINES_KEPT = 200
_TAIL_BYTES = 64_000
_LONGEST = 240
_BAD = ("error", "critical", "fatal", "panic", "crit")
# supervisord calls these critical at every start; its socket is the account's alone, and a
# container has no other account than its root.
_HARMLESS = (
    "Server 'unix_http_server' running without any HTTP authentication",
    "Supervisor is running as root.",
)
_SEE_LOG = "Its log says more."
_SEE_MODELS = "The page Models shows what serves now."

# What our programs' error events mean to somebody who does not know them.
_EVENTS = {
    "program_ended": ("ended and was started again.", _SEE_LOG),
    "engine_failed": (
        "could not load its model.",
        "Verify or change the model on the page Models.",
    ),
    "model_not_loaded": (
        "could not load its model.",
        "Verify or change the model on the page Models.",
    ),
    "voice_unreadable": ("cannot read a voice.", "Verify the voice on the page Models."),
    "decoder_failed": (
        "could not take its conversations further; those callers were told.",
        _SEE_LOG,
    ),
    "request_failed": ("could not do one request; the caller was told.", _SEE_LOG),
    "request_broken": ("made a mistake in answering one request.", _SEE_LOG),
    "unexpected": ("made a mistake in answering one request.", _SEE_LOG),
    "call_refused": ("could not take a call.", _SEE_LOG),
    "turn_not_done": (
        "could not write down a part of a call.",
        "Check the free space on the disk.",
    ),
    "turns_left_undone": (
        "could not write down a part of a call.",
        "Check the free space on the disk.",
    ),
    "end_not_written": (
        "could not write down how a call ended.",
        "Check the free space on the disk.",
    ),
    "call_not_ended": ("could not end a call in order when the box stopped.", _SEE_LOG),
    "not_ended": (
        "had a process that could not be ended.",
        "Restart the machine if the process stays.",
    ),
    "not_said": ("could not tell a caller what was happening.", _SEE_LOG),
    "name_not_announced": (
        "could not announce the box's name in the network.",
        "Switch the setting front.mdns off if the name is not needed.",
    ),
    "loss_not_written": (
        "could not note that the GPU was lost.",
        "Check the free space on the disk.",
    ),
    "audit_not_written": (
        "could not write to the audit log.",
        "Check the free space on the disk.",
    ),
    "record_not_written": (
        "could not write down that a program ended.",
        "Check the free space on the disk.",
    ),
    "stop_failed": ("could not stop a program that kept ending.", _SEE_LOG),
    "watch_round_broken": ("made a mistake while looking after the calls.", _SEE_LOG),
    "purge_broken": ("could not delete old calls.", _SEE_LOG),
    "sample_broken": ("could not read the machine's figures.", _SEE_LOG),
    "restart_failed": ("could not restart a program.", _SEE_LOG),
    "panel_cannot_start": ("could not start.", _SEE_LOG),
    "selection_unreadable": ("cannot read which models were chosen.", _SEE_MODELS),
    "wish_not_followed": ("could not change to the model of the settings.", _SEE_MODELS),
    "switch_broken": ("made a mistake while changing a model.", _SEE_MODELS),
    "way_back_stumbled": ("had trouble in going back to the model before.", _SEE_MODELS),
    "last_good_not_back": ("could not go back to the model before.", _SEE_MODELS),
    "supervisord_died": (
        "found that the supervisor had been ended, and ended every program.",
        "Something outside of Earshot did that.",
    ),
    "command_failed": ("could not do what it was asked.", _SEE_LOG),
    "backup_failed": ("could not make a backup.", "The page Backups makes one at once."),
    "backup_damaged": ("found a backup damaged.", "Make another one on the page Backups."),
    "backup_broken": ("made a mistake while making a backup.", _SEE_LOG),
    "check broke": ("made a mistake in one of its checks.", _SEE_LOG),
}
_LINKS = {"backup_failed": "/backups", "backup_damaged": "/backups"}
# Any other line is a library's own, for people who know its inside.
_UNEXPLAINED = "reported a problem that it did not explain; its log shows the line."


@dataclass(frozen=True)
class Trouble:
    """One thing that went wrong.

    Attributes:
        at: when it was last seen.
        where: the program, or ``call``.
        message, hint: what happened and what to do.
        link: a page of the panel that shows more; may be empty.
        times: how often it was seen.
    """

    at: datetime
    where: str
    message: str
    hint: str = ""
    link: str = ""
    times: int = 1


class Troubles:
    """Finds them; keeps its place in every log, so that asking again is cheap. Safe between threads."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._lock = threading.Lock()
        self._files: dict[str, LogFile] = {}
        self._lines = deque[LogLine](maxlen=_LINES_KEPT)

    def latest(self, most: int = MOST) -> list[Trouble]:
        """The latest troubles of the last week, newest first; the same one only once."""
        with self._lock:
            self._read_logs()
            lines = list(self._lines)
        found = [*self._given_up(), *self._failed_calls(), *map(from_line, lines)]
        since = datetime.now(UTC) - timedelta(days=_DAYS)
        return merged([one for one in found if one.at >= since])[:most]

    def _read_logs(self) -> None:
        for name in log_names(self._settings):
            file = self._files.get(name)
            try:
                if file is None:
                    path = log_path(self._settings, name)
                    file = self._files[name] = LogFile(path, tail_bytes=_TAIL_BYTES)
                    lines: Iterable[LogLine] = file.last()
                else:
                    lines = file.new_lines()
                self._lines.extend(line for line in lines if _is_bad(line))
            except ApplianceError:
                # The doctor says that a log cannot be read.
                continue

    def _given_up(self) -> list[Trouble]:
        now, clock_s = datetime.now(UTC), time.monotonic()
        return [
            _given_up_at(
                now - timedelta(seconds=max(0.0, clock_s - max(record.exits, default=clock_s))),
                name, record.given_up,
            )
            for name, record in read_records(self._settings.run_dir).items()
            if record.given_up
        ]  # fmt: skip

    def _failed_calls(self) -> list[Trouble]:
        try:
            sessions = self._store.sessions.list(_CALLS_LOOKED_AT)
        except ApplianceError as error:
            return [Trouble(datetime.now(UTC), "panel", error.message, error.hint)]
        return [from_call(one) for one in sessions if one.state == EndState.FAILED]


def from_call(session: Session) -> Trouble:
    """A call that failed."""
    reason = logs.clean(session.reason).replace("_", " ").strip().rstrip(".")[:_LONGEST]
    return Trouble(
        session.ended_at or session.created_at, "call",
        f"A call failed: {reason}." if reason else "A call failed.",
        "Its page shows how far it came.", f"/calls/{session.id}",
    )  # fmt: skip


def from_line(line: LogLine) -> Trouble:
    """A line of a log."""
    line = line.cleaned()
    at = datetime.fromtimestamp(line.at, UTC) if line.at else datetime.now(UTC)
    fields: Mapping[str, object] = line.fields
    where = line.program
    if line.event in ("program_ended", "program_given_up"):
        where = str(fields.get("program", where))
    what, hint = _EVENTS.get(line.event, ("", ""))
    why = str(fields.get("why") or fields.get("reason") or "")
    if line.event == "program_given_up":
        return _given_up_at(at, where, why or "It ended too often and was stopped.")
    if what:
        what = f"{what} {why}" if why else what
    else:
        what, hint = _UNEXPLAINED, f"`scripts/appliance logs {where}` shows it."
    said = f"{title_of(where)} {what}".strip()[:_LONGEST]
    return Trouble(at, where, said, hint, _LINKS.get(line.event, ""))


def _given_up_at(at: datetime, program: str, reason: str) -> Trouble:
    said = f"{title_of(program)}: {reason}"
    return Trouble(at, program, said[:_LONGEST], "Restart it to try again.")


def merged(troubles: Iterable[Trouble]) -> list[Trouble]:
    """Newest first, each kind once with how often it was seen."""
    kinds: dict[tuple[str, str], Trouble] = {}
    for one in sorted(troubles, key=lambda trouble: trouble.at, reverse=True):
        kind = (one.where, one.message)
        if kind in kinds:
            kinds[kind] = replace(kinds[kind], times=kinds[kind].times + one.times)
        else:
            kinds[kind] = one
    return list(kinds.values())


def _is_bad(line: LogLine) -> bool:
    if line.event == "program_ended":
        # The panel alone is restarted by a signal, on which it ends cleanly; others are stopped.
        return not (line.fields.get("program") == "panel" and line.fields.get("clean") is True)
    return line.level in _BAD and not line.event.startswith(_HARMLESS)
