"""Measures the box from its own page: `appliance bench` as a program of its own, with progress."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import Request

from appliance import logs
from appliance.errors import NotFound, NotReady, Refused
from appliance.files import write_whole
from appliance.measuring import results
from appliance.settings import PROJECT_DIR, Settings
from services.panel.desk import Desk
from services.panel.readiness import Readiness

MOST_TURNS = 40
SHOWN = 10
COMMAND = (sys.executable, "-m", "appliance.cli", "bench")
# The panel itself stops within two seconds.
_STOP_S = 1.5
# What is stopped by hand has time to leave its rooms on a busy box.
_LEAVE_S = 10.0
_BROKE_OFF = "The measurement broke off."
_RESTARTED = "The measurement broke off when the panel was restarted."
_STEP = re.compile(r"(\d+) of (\d+)")

log = logs.get(__name__)


@dataclass(frozen=True)
class Wish:
    """What is to be measured."""

    rooms: int
    turns: int
    overlap: bool

    @property
    def options(self) -> list[str]:
        """For the command."""
        wanted = ["--rooms", str(self.rooms), "--turns", str(self.turns), "--json"]
        return [*wanted, "--overlap"] if self.overlap else wanted


@dataclass(frozen=True)
class Progress:
    """How far it is; ``problem`` says why the last one came to nothing."""

    running: bool
    done: int
    total: int
    problem: str
    stopped: bool
    """The last one, by hand."""


@dataclass(frozen=True)
class Kept:
    """One result as the page lists it; times in ms, None: nobody was heard."""

    name: str
    when: datetime
    rooms: int
    overlap: bool
    answered: int
    asked: int
    p50: float | None
    p90: float | None
    beside: int
    """Other callers who were on the line meanwhile."""
    broken_off: bool
    """Whether it was ended before its time."""


class Measuring:
    """At most one measurement at a time.

    Args:
        settings: the box's.
        desk: knows who is on the line.
        readiness: knows whether calls are taken.
        command: what measures.
    """

    def __init__(
        self, settings: Settings, desk: Desk, readiness: Readiness,
        command: Sequence[str] = COMMAND,
    ) -> None:  # fmt: skip
        self._folder = results.folder_of(settings)
        # There while one is under way; a panel that finds it at its start was ended in the middle.
        self._mark = self._folder / "under-way"
        self._desk = desk
        self._readiness = readiness
        self._command = command
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._done = self._total = 0
        self._problem = ""
        self._ending = self._stopped = self._closing = False

    async def open(self) -> None:
        """Find out whether the panel was ended in the middle of one."""
        if await asyncio.to_thread(_take_away, self._mark):
            self._problem = _RESTARTED

    @property
    def running(self) -> bool:
        """Whether one is under way."""
        return self._task is not None and not self._task.done()

    @property
    def seats(self) -> int:
        """How many callers there can be."""
        return self._desk.seats.count

    def progress(self) -> Progress:
        """How far it is."""
        return Progress(self.running, self._done, self._total, self._problem, self._stopped)

    async def start(self, wish: Wish) -> None:
        """Begin in the background.

        Raises:
            Refused: one is under way already.
            NotReady: somebody is on the line, or the box takes no calls.
        """
        if self.running:
            raise Refused("measuring", "A measurement is under way already.", "Wait for its end.")
        if not (await self._readiness.look()).ready or self._readiness.pause():
            raise NotReady("not_ready", "The box takes no calls now.", "Home says why.")
        line = await self._desk.queue.line()
        callers = await asyncio.to_thread(self._desk.store.sessions.open)
        if line["waiting"] or callers:
            raise NotReady(
                "callers_in", "Somebody is on the line: a measurement would disturb them.",
                "Measure when the calls are over.", can_retry=True,
            )  # fmt: skip
        if self.running:
            # Another click came while this one looked.
            raise Refused("measuring", "A measurement is under way already.", "Wait for its end.")
        self._done, self._total, self._problem = 0, wish.rooms * wish.turns, ""
        self._process, self._ending, self._stopped = None, False, False
        self._task = asyncio.create_task(self._run(wish), name="measuring.run")

    async def stop(self) -> bool:
        """End it by hand; its calls are hung up. Returns whether there was one."""
        if not self.running:
            return False
        self._stopped = True
        await self._end(_LEAVE_S)
        return True

    async def close(self) -> None:
        """End it with the panel; the next one says so."""
        self._closing = True
        await self._end(_STOP_S)

    async def _end(self, patience_s: float) -> None:
        if self._task is None:
            return
        self._interrupt()
        _done, late = await asyncio.wait({self._task}, timeout=patience_s)
        if late:
            if self._process is not None and self._process.returncode is None:
                self._process.kill()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _interrupt(self) -> None:
        # Once: a second Ctrl-C would end the command before it has left its rooms.
        if not self._ending and self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGINT)
        self._ending = True

    async def _run(self, wish: Wish) -> None:
        await asyncio.to_thread(_put_down, self._mark)
        over = False
        try:
            over = await self._measure(wish)
        finally:
            if over or self._stopped or not self._closing:
                await asyncio.to_thread(_take_away, self._mark)

    async def _measure(self, wish: Wish) -> bool:
        """Whether there is a result."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, *wish.options, cwd=PROJECT_DIR,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            log.warning("measuring_not_started", error=type(error).__name__)
            self._problem = "The measurement could not be started."
            return False
        try:
            if self._ending:
                # It was told to end before there was a program to tell.
                self._process.send_signal(signal.SIGINT)
            said = await self._follow(self._process)
            code = await self._process.wait()
        except Exception as error:  # noqa: BLE001  whatever it said, the page must not show success
            log.warning("measuring_broke_off", error=type(error).__name__)
            self._problem = _BROKE_OFF
            return False
        finally:
            await _ended(self._process)
        log.info("measured", code=code, rooms=wish.rooms, turns=wish.turns)
        if code == 0:
            # It was done before the word to stop came.
            self._stopped = False
        elif not self._stopped:
            self._problem = said or _BROKE_OFF
        return code == 0

    async def _follow(self, process: asyncio.subprocess.Process) -> str:
        """Count the steps; returns the last thing said that is none."""
        said = ""
        stream = process.stderr
        while stream is not None and (line := await stream.readline()):
            text = line.decode(errors="replace").strip()
            if step := _STEP.fullmatch(text):
                self._done, self._total = int(step[1]), int(step[2])
            elif text:
                said = text[:500]
        return said

    def kept(self) -> list[Kept]:
        """The latest results, newest first. Reads files: an event loop uses a thread."""
        found = []
        for name in results.names(self._folder)[:SHOWN]:
            try:
                found.append(_kept(name, results.read(self._folder, name)))
            except (NotFound, KeyError, TypeError, ValueError):
                # Half written, or by another version of Earshot; the others are still worth seeing.
                log.info("measurement_not_shown", name=name)
        return found

    def file(self, name: str, suffix: str) -> bytes:
        """The figures or the picture of one result.

        Raises:
            NotFound: there is none of that name.
        """
        if name in results.names(self._folder):
            try:
                return (self._folder / f"{name}{suffix}").read_bytes()
            except FileNotFoundError:
                pass
        raise NotFound("measurement_unknown", "There is no such measurement.", "Look at the list.")


def _put_down(mark: Path) -> None:
    try:
        mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(mark, "")
    except OSError as error:
        # It is measured all the same: the command itself says what is wrong with the folder.
        log.warning("measuring_not_marked", error=type(error).__name__)


def _take_away(mark: Path) -> bool:
    """Whether it was there."""
    try:
        mark.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        log.warning("measuring_mark_stays", error=type(error).__name__)
    return True


async def _ended(process: asyncio.subprocess.Process) -> None:
    """End it if it still runs: as Ctrl-C does, so that it leaves its rooms, or by force."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(process.wait(), _STOP_S)
        except TimeoutError:
            process.kill()


def _kept(name: str, result: dict[str, Any]) -> Kept:
    ours, plan = result["ours"], result["plan"]
    at_ear = ours["at_ear_ms"] or {}
    return Kept(
        name, datetime.fromisoformat(result["when"]), int(plan["rooms"]), bool(plan["overlap"]),
        int(ours["questions"]["answered"]), int(ours["questions"]["asked"]),
        at_ear.get("p50"), at_ear.get("p90"), int(result.get("callers_beside") or 0),
        bool(result.get("broken_off")),
    )  # fmt: skip


def measuring_of(request: Request) -> Measuring:
    """The app's."""
    measuring: Measuring = request.app.state.measuring
    return measuring
