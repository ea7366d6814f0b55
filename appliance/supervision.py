"""supervisord's own XML-RPC on its unix socket, and what belongs to a box among the processes."""

from __future__ import annotations

import http.client
import json
import socket
import time
import xmlrpc.client
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from appliance import logs
from appliance.errors import NotFound, NotReady, TimedOut
from appliance.settings import Settings

GROUP = "earshot"
# In the environment of every process of a box, its value the run folder: so none can be lost.
MARK = "EARSHOT_BOX"
_RPC_TIMEOUT_S = 2.0
_BAD_NAME, _NOT_RUNNING, _ALREADY_STARTED = 10, 70, 60
# How long a killed process may take to be gone.
_GONE_WITHIN_S = 10.0
log = logs.get(__name__)


@dataclass(frozen=True)
class ProcessInfo:
    """What supervisord says of one program."""

    name: str
    state: str  # STOPPED STARTING RUNNING BACKOFF STOPPING EXITED FATAL UNKNOWN
    pid: int
    uptime_s: int
    spawn_error: str


@dataclass
class Record:
    """What the watch knows of one program since the box was started."""

    restarts: int = 0
    given_up: str = ""
    exits: list[float] = field(default_factory=list)  # CLOCK_MONOTONIC of the latest, in seconds


class Supervisor:
    """Asks supervisord. Every call is answered or refused within two seconds.

    Raises, from each method:
        NotReady: no supervisord answers on the socket.
        NotFound: there is no such program.
    """

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path

    def processes(self) -> dict[str, ProcessInfo]:
        """The programs of the group, by name."""
        rows = self._call("getAllProcessInfo")
        return {row["name"]: _info(row) for row in rows if row["group"] == GROUP}

    def process(self, name: str) -> ProcessInfo:
        """One program."""
        return _info(self._call("getProcessInfo", f"{GROUP}:{name}"))

    def start(self, name: str) -> None:
        """Start a program; one that runs stays as it is. Does not wait."""
        self._call("startProcess", f"{GROUP}:{name}", False, allowed=_ALREADY_STARTED)

    def stop(self, name: str, *, deadline_s: float = 30.0) -> None:
        """Stop a program and wait until its process is gone.

        Raises:
            TimedOut: it is still there after ``deadline_s``.
        """
        until = time.monotonic() + deadline_s
        accepted = False
        while True:
            # Between its death and its next start a program cannot be stopped: ask again.
            # Never after it was accepted: somebody else may have started it by then.
            accepted = accepted or self._call(
                "stopProcess", f"{GROUP}:{name}", False, allowed=_NOT_RUNNING
            )
            state = self.process(name).state
            if state in ("STOPPED", "FATAL") or (accepted and state != "STOPPING"):
                return
            if time.monotonic() > until:
                raise TimedOut("stop_timed_out", f"{name} did not stop within {deadline_s:.0f} s.")
            time.sleep(0.05)

    def restart(self, name: str) -> None:
        """Stop a program, then start it; waits for the stop alone."""
        self.stop(name)
        self.start(name)

    def signal(self, name: str, signal_name: str) -> None:
        """Send a program a signal, e.g. ``TERM``; one that ends by it is started again."""
        self._call("signalProcess", f"{GROUP}:{name}", signal_name, allowed=_NOT_RUNNING)

    def tail(self, name: str, characters: int = 4000) -> str:
        """The end of a program's log."""
        text, _offset, _overflow = self._call(
            "tailProcessStdoutLog", f"{GROUP}:{name}", 0, characters
        )
        return str(text)

    def shutdown(self) -> None:
        """Stop everything, supervisord last. Does not wait."""
        self._call("shutdown")

    def _call(self, method: str, *arguments: object, allowed: int = 0) -> Any:
        proxy = xmlrpc.client.ServerProxy("http://supervisor", transport=_UnixTransport(self._path))
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == allowed:
                return None
            if fault.faultCode == _BAD_NAME:
                raise NotFound(
                    "program_unknown", f"The box has no program {arguments[0]!s}."
                ) from fault
            raise NotReady(
                "supervisor_refused", f"supervisord refused {method}.", "`scripts/appliance logs supervisord` shows why.",
            ) from fault  # fmt: skip
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise NotReady(
                "box_not_running",
                "Earshot is not running.",
                "Start it with scripts/run.",
                can_retry=True,
            ) from error


def supervisor_of(settings: Settings) -> Supervisor:
    """The supervisor of this data folder's box."""
    return Supervisor(settings.socket("supervisor"))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _UnixConnection(self._path)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("supervisor", timeout=_RPC_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_RPC_TIMEOUT_S)
        self.sock.connect(str(self._path))


def _info(row: dict[str, Any]) -> ProcessInfo:
    up = row["now"] - row["start"] if row["statename"] in ("RUNNING", "STARTING") else 0
    return ProcessInfo(row["name"], row["statename"], row["pid"], max(0, up), row["spawnerr"])


def records_path(run_dir: Path) -> Path:
    """The watch's file; it alone writes there while the box runs."""
    return run_dir / "supervision.json"


def read_records(run_dir: Path) -> dict[str, Record]:
    """What the watch has recorded, by program; empty where nothing has ended yet."""
    try:
        programs = json.loads(records_path(run_dir).read_text(encoding="utf-8"))["programs"]
        return {name: Record(**record) for name, record in programs.items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def records_text(records: dict[str, Record]) -> str:
    """The content of the watch's file."""
    return json.dumps({"programs": {name: asdict(record) for name, record in records.items()}})


def members(run_dir: Path) -> list[psutil.Process]:
    """Every process of this box, the supervisor's descendants and any they left behind."""
    mark = str(run_dir)
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def sweep(run_dir: Path, *, grace_s: float, sparing: int = 0) -> int:
    """End whatever is left of a box: SIGTERM, ``grace_s`` seconds later SIGKILL.

    The process ``sparing`` is left alone. One that is still there ten seconds after that hangs in the
    kernel, as on a dead disk: it is logged and left. Returns how many processes there were.
    """
    swept = set()
    until = time.monotonic() + grace_s
    asked = set[int]()
    while left := [process for process in members(run_dir) if process.pid != sparing]:
        swept |= {process.pid for process in left}
        if time.monotonic() >= until + _GONE_WITHIN_S:
            log.error("not_ended", pids=sorted(process.pid for process in left))
            break
        for process in left:
            with suppress(psutil.NoSuchProcess):
                if time.monotonic() >= until:
                    process.kill()
                elif process.pid not in asked:
                    process.terminate()
                    asked.add(process.pid)
        psutil.wait_procs(left, timeout=0.2)
    return len(swept)
