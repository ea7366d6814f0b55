"""How every program of the box is: supervisord's view, each program's own, and why."""

from __future__ import annotations

import asyncio
import http
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from appliance.addresses import LOOPBACK
from appliance.errors import ApplianceError
from appliance.rendering import FRONTS, programs
from appliance.running import as_started
from appliance.settings import Settings
from appliance.supervision import ProcessInfo, Record, members, read_records, supervisor_of

PROBE_S = 2.0
# States: stopped, starting, loading, ready, failed, restarting, silent, given_up.
_ENDED = ("BACKOFF", "EXITED")
# A program that has run this long and answers nothing is not starting any more.
_SILENT_AFTER_S = 60
# Asked on a TCP port, where any program may answer; the others' sockets lie in the run folder.
_ON_PORTS = ("livekit",)


@dataclass(frozen=True)
class ProgramStatus:
    """One program."""

    name: str
    state: str
    ready: bool
    why: str
    uptime_s: int
    restarts: int
    memory_mb: int


@dataclass(frozen=True)
class BoxStatus:
    """All programs; the box is ready when each of them is."""

    ready: bool
    programs: tuple[ProgramStatus, ...]


@dataclass(frozen=True)
class Answer:
    """What a program said of itself: loading, ready or failed; ``silent`` when it said nothing."""

    state: str
    why: str = ""


async def box_status(settings: Settings, *, memory: bool = True) -> BoxStatus:
    """Ask everything at once; answers within about two seconds whatever hangs.

    Works without supervisord: a program that does not answer is then "stopped".
    The box is asked where it was started, whatever the settings have become since.
    Memory is the proportional set size of a program and its children, in megabytes.
    """
    settings = as_started(settings)
    commands = {program.name: program.command for program in programs(settings)}
    names = list(commands)
    (processes, records), found_answers = await asyncio.gather(
        asyncio.to_thread(_supervision, settings),
        asyncio.gather(*(_bounded_probe(settings, name) for name in names)),
    )
    answers = dict(zip(names, found_answers, strict=True))
    pids = {name: processes[name].pid for name in names if name in processes}
    strangers = [n for n in _ON_PORTS if n in names and not pids.get(n)]
    if any(answers[name].state != "silent" for name in strangers):
        ours = await asyncio.to_thread(_paths_of_ours, settings)
        answers |= {n: Answer("silent") for n in strangers if commands[n][0] not in ours}
    used = await asyncio.to_thread(_memory, pids) if memory else {}
    found = tuple(
        _judge(name, processes.get(name), records.get(name, Record()), answer, used.get(name, 0))
        for name, answer in answers.items()
    )
    return BoxStatus(all(program.ready for program in found), found)


def _paths_of_ours(settings: Settings) -> set[str]:
    """What this box's processes run, whether anybody supervises them or not."""
    found = set()
    for process in members(settings.run_dir):
        with suppress(psutil.Error):
            found |= set(process.cmdline()[:1])
    return found


def _supervision(settings: Settings) -> tuple[dict[str, ProcessInfo], dict[str, Record]]:
    records = read_records(settings.run_dir)
    try:
        return supervisor_of(settings).processes(), records
    except ApplianceError:
        return {}, records


def _judge(
    name: str, process: ProcessInfo | None, record: Record, answer: Answer, memory_mb: int
) -> ProgramStatus:
    state, why = _state(name, process, record, answer)
    uptime_s = process.uptime_s if process else 0
    return ProgramStatus(name, state, state == "ready", why, uptime_s, record.restarts, memory_mb)


def _state(
    name: str, process: ProcessInfo | None, record: Record, answer: Answer
) -> tuple[str, str]:
    """The program's state and, where it is not ready, the reason in plain words."""
    log = f"`scripts/appliance logs {name}` shows why."
    if record.given_up and (process is None or process.state in ("STOPPED", "FATAL")):
        return "given_up", record.given_up
    if answer.state == "ready":
        return "ready", ""
    if process is None:
        return "stopped", "Earshot is not running."
    if process.state == "FATAL":
        return "given_up", f"It ended at every start. {log}"
    if process.state in ("STOPPED", "STOPPING"):
        return "stopped", f"`scripts/appliance restart {name}` starts it."
    if process.state in _ENDED:
        return "restarting", f"It ended and is started again. {log}"
    if answer.state == "silent":
        if process.uptime_s > _SILENT_AFTER_S:
            return "silent", f"It runs and does not answer. {log}"
        return "starting", "It has just been started."
    return answer.state, answer.why or f"It gave no reason. {log}"


async def _bounded_probe(settings: Settings, name: str) -> Answer:
    try:
        async with asyncio.timeout(PROBE_S):
            return await _probe(settings, name)
    except (OSError, ValueError, IndexError):
        return Answer("silent")


async def _probe(settings: Settings, name: str) -> Answer:
    if name == "livekit":
        status, body = await _get("/", port=settings.livekit.port)
    elif name in FRONTS:
        status, body = await _get("/front/healthz", socket=settings.socket(name))
    else:
        # The panel's /readyz answers for the whole box.
        path = "/healthz" if name == "panel" else "/readyz"
        status, body = await _get(path, socket=settings.socket(name))
    if status == http.HTTPStatus.OK:
        return Answer("ready")
    said: Any = {}
    with suppress(ValueError):
        said = json.loads(body)
    if not isinstance(said, dict):
        said = {}
    state = said.get("state")
    why = said.get("why")
    return Answer(state if state in ("loading", "failed") else "loading", str(why or ""))


async def _get(path: str, *, port: int = 0, socket: Path | None = None) -> tuple[int, bytes]:
    """One small GET, without an HTTP library whose import and TLS set-up cost more than the answer."""
    if socket:
        reader, writer = await asyncio.open_unix_connection(socket)
    else:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        # HTTP/1.0: the answer is neither chunked nor kept open.
        writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    finally:
        writer.close()
    return int(head.split(b" ", 2)[1]), body


def program_memory(settings: Settings, *, without: int | None = None) -> dict[str, int]:
    """Proportional set size in bytes of each program that runs, its children included.

    ``without`` is the pid of a process that is left out with its own children.
    """
    processes, _records = _supervision(settings)
    return {name: tree_bytes(o.pid, without=without) for name, o in processes.items() if o.pid}


def _memory(pids: dict[str, int]) -> dict[str, int]:
    return {name: round(tree_bytes(pid) / 1e6) for name, pid in pids.items() if pid}


def tree_bytes(pid: int, *, without: int | None = None) -> int:
    """Proportional set size in bytes of a process and its children; 0 if there is none.

    ``without`` is the pid of one that is left out with its own children.
    """
    total = 0
    for one in _family(pid) - _family(without):
        with suppress(psutil.Error):
            total += one.memory_full_info().pss
    return total


def _family(pid: int | None) -> set[psutil.Process]:
    if pid is None:
        return set()
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return {process, *process.children(recursive=True)}
    return set()
