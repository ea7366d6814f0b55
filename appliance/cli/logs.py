"""``appliance logs``: what the programs wrote, newest last."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

_POLL_S = 0.25
# Enough for 50 long lines; a whole log may have 10 MB.
_TAIL_BYTES = 512_000
_BESIDES = ("watch", "supervisord", "command")
_COLOURS = {
    "warning": "yellow",
    "warn": "yellow",
    "error": "red",
    "critical": "red",
    "fatal": "red",
}
# Who, when and how bad is shown in columns; the rest of a line follows its event.
_COLUMNS = frozenset({"ts", "level", "service", "event", "msg"})


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(logs)


def logs(
    program: Annotated[str, typer.Argument(help="One program; all of them if left out.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines.")] = 50,
    as_json: Annotated[
        bool, typer.Option("--json", help="The lines as they were written.")
    ] = False,
) -> None:
    """Show what the programs wrote."""
    from rich.console import Console

    from appliance.cli.lenient import settings_or_least
    from appliance.errors import NotFound
    from appliance.rendering import programs

    settings = settings_or_least()
    known = [one.name for one in programs(settings)] + list(_BESIDES)
    if program and program not in known:
        raise NotFound(
            "program_unknown", f"There is no program {program!r}.", f"There are {', '.join(known)}."
        )
    console = Console(highlight=False, soft_wrap=True)
    files = [
        _File(settings.data_dir / "logs" / f"{name}.log")
        for name in ([program] if program else known)
    ]
    for line in _latest(files, lines):
        _show(console, line, as_json=as_json)
    while follow:
        time.sleep(_POLL_S)
        new = [line for file in files for line in file.new_lines()]
        for line in sorted(new, key=lambda line: line.at):
            _show(console, line, as_json=as_json)


@dataclass(frozen=True)
class _Line:
    """One line of one program."""

    program: str
    raw: str
    at: float  # seconds since 1970; that of the line before where it says no time
    fields: dict[str, Any]


class _File:
    """A log that grows and is rotated under our eyes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._program = path.stem
        self._offset = 0
        self._inode = 0
        self._half = b""
        self._at = 0.0

    def last(self) -> list[_Line]:
        """The end of the log as it is now; ``new_lines`` goes on from there."""
        older = self._path.with_name(self._path.name + ".1")
        with _explained(older):
            found = list(self._lines(_tail(older)))
        with _explained(self._path):
            data = _tail(self._path)
            if self._path.exists():
                status = self._path.stat()
                self._offset, self._inode = status.st_size, status.st_ino
        return found + list(self._lines(data))

    def new_lines(self) -> Iterator[_Line]:
        """What was written since the last look."""
        try:
            with _explained(self._path):
                status = self._path.stat()
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._offset, self._inode, self._half = 0, status.st_ino, b""
                with self._path.open("rb") as file:
                    file.seek(self._offset)
                    data = self._half + file.read()
                    self._offset = file.tell()
        except FileNotFoundError:
            return
        whole, newline, self._half = data.rpartition(b"\n")
        yield from self._lines(whole if newline else b"")

    def _lines(self, data: bytes) -> Iterator[_Line]:
        for raw in data.decode("utf-8", "replace").splitlines():
            fields = _parse(raw)
            self._at = _moment(fields.get("ts")) or self._at
            yield _Line(self._program, raw, self._at, fields)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn a log that cannot be read into a sentence; one that is not there stays the caller's."""
    from appliance.errors import ApplianceError

    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = (error.strerror or "it cannot be opened").lower()
        raise ApplianceError(
            "log_unreadable", f"The log {path} cannot be read: {reason}.",
            "Check its owner and its permissions.",
        ) from error  # fmt: skip


def _latest(files: list[_File], count: int) -> list[_Line]:
    """The newest lines of all files in the order of their times."""
    found = sorted((line for file in files for line in file.last()), key=lambda line: line.at)
    return found[-count:] if count else []


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            data = file.read()
    except FileNotFoundError:
        return b""
    # Cut in the middle of a line: begin with the next one.
    return data if size <= _TAIL_BYTES else data.partition(b"\n")[2]


def _parse(raw: str) -> dict[str, Any]:
    if raw.startswith("{"):
        try:
            fields = json.loads(raw)
        except ValueError:
            return {}
        if isinstance(fields, dict):
            return fields
    # supervisord writes "2026-01-31 12:00:00,123 INFO message" in local time.
    date, _, rest = raw.partition(" ")
    clock, _, rest = rest.partition(" ")
    level, _, message = rest.partition(" ")
    try:
        moment = datetime.fromisoformat(f"{date} {clock.replace(',', '.')}").astimezone()
    except ValueError:
        return {}
    return {"ts": moment.timestamp(), "level": level.lower(), "event": message}


def _moment(ts: Any) -> float:
    """A log line's time: ISO 8601 from us and livekit-server, a number from Caddy."""
    if isinstance(ts, (int, float)):
        return float(ts)
    try:
        return datetime.fromisoformat(str(ts)).timestamp()
    except ValueError:
        return 0.0


def _show(console: Console, line: _Line, *, as_json: bool) -> None:
    from rich.text import Text

    if as_json:
        print(line.raw, flush=True)
        return
    fields = line.fields
    clock = (
        datetime.fromtimestamp(line.at, UTC).astimezone().strftime("%H:%M:%S")
        if line.at
        else " " * 8
    )
    level = str(fields.get("level", ""))
    event = str(fields.get("event") or fields.get("msg") or ("" if fields else line.raw))
    rest = " ".join(f"{key}={value}" for key, value in fields.items() if key not in _COLUMNS)
    console.print(
        Text.assemble(
            (clock, "dim"), " ", (f"{line.program:11}", "cyan"), " ",
            (f"{level:8}", _COLOURS.get(level, "dim")), event, " ", (rest, "dim"),
        )
    )  # fmt: skip
