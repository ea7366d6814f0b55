"""Reading what the programs wrote: files that grow and are rotated, lines of several shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError
from appliance.logs import clean
from appliance.rendering import programs
from appliance.settings import Settings

BESIDES = ("watch", "supervisord", "command", "mdns")
"""What writes a log and is no program of the group."""
# Enough for 50 long lines; a whole log may have 10 MB.
_TAIL_BYTES = 512_000
_LATEST = 1e11  # seconds since 1970: the year 5138
# Who, when and how bad is shown in columns; the rest of a line follows its event.
_COLUMNS = frozenset({"ts", "level", "service", "event", "msg"})


@dataclass(frozen=True)
class LogLine:
    """One line of one program."""

    program: str
    raw: str
    at: float
    """Seconds since 1970; that of the line before where it says no time, 0 where none does."""
    fields: dict[str, Any]

    @property
    def level(self) -> str:
        """How bad it is, in lower case; empty if it does not say."""
        return _whole(str(self.fields.get("level", "")).lower())

    @property
    def event(self) -> str:
        """What happened."""
        said = self.fields.get("event") or self.fields.get("msg")
        return _whole(str(said or ("" if self.fields else self.raw)))

    @property
    def rest(self) -> str:
        """Everything else it says, as ``name=value``."""
        others = {key: value for key, value in self.fields.items() if key not in _COLUMNS}
        return _whole(" ".join(f"{key}={value}" for key, value in others.items()))

    @property
    def clock(self) -> str:
        """Local time of day; blank if it says none."""
        if not self.at:
            return " " * 8
        return datetime.fromtimestamp(self.at, UTC).astimezone().strftime("%H:%M:%S")

    def cleaned(self) -> LogLine:
        """The same without speech and secrets, whichever program wrote it."""
        return LogLine(self.program, clean(self.raw), self.at, clean(self.fields))


class LogFile:
    """A log that grows and is rotated under our eyes.

    Raises, from each method:
        ApplianceError: the file is there and cannot be read.
    """

    def __init__(self, path: Path, *, tail_bytes: int = _TAIL_BYTES) -> None:
        self._path = path
        self._program = path.stem
        self._tail_bytes = tail_bytes
        self._offset = 0
        self._inode = 0
        self._half = b""
        self._at = 0.0

    def last(self) -> list[LogLine]:
        """The end of the log as it is now; ``new_lines`` goes on from there."""
        older = self._path.with_name(self._path.name + ".1")
        with _explained(older):
            found = list(self._lines(self._tail(older)))
        with _explained(self._path):
            data = self._tail(self._path)
            if self._path.exists():
                status = self._path.stat()
                self._offset, self._inode = status.st_size, status.st_ino
        return found + list(self._lines(data))

    def new_lines(self) -> Iterator[LogLine]:
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

    def _lines(self, data: bytes) -> Iterator[LogLine]:
        for raw in data.decode("utf-8", "replace").splitlines():
            fields = _parse(raw)
            self._at = _moment(fields.get("ts")) or self._at
            yield LogLine(self._program, raw, self._at, fields)

    def _tail(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - self._tail_bytes))
                data = file.read()
        except FileNotFoundError:
            return b""
        # Cut in the middle of a line: begin with the next one.
        return data if size <= self._tail_bytes else data.partition(b"\n")[2]


def log_names(settings: Settings) -> list[str]:
    """Everything of the box that writes a log."""
    return [one.name for one in programs(settings)] + list(BESIDES)


def log_path(settings: Settings, name: str) -> Path:
    """The log of one of ``log_names``."""
    return settings.data_dir / "logs" / f"{name}.log"


def latest(files: list[LogFile], count: int) -> list[LogLine]:
    """The newest lines of all files in the order of their times.

    Raises:
        ApplianceError: a file is there and cannot be read.
    """
    found = sorted((line for file in files for line in file.last()), key=lambda line: line.at)
    return found[-count:] if count else []


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn a log that cannot be read into a sentence; one that is not there stays the caller's."""
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


def _parse(raw: str) -> dict[str, Any]:
    if raw.startswith("{"):
        try:
            fields = json.loads(raw)
        except (ValueError, RecursionError):
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


def _whole(text: str) -> str:
    """The text without halves of characters, which JSON can name and nothing can send."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _moment(ts: Any) -> float:
    """A log line's time: ISO 8601 from us and livekit-server, a number from Caddy."""
    try:
        at = (
            float(ts)
            if isinstance(ts, (int, float))
            else datetime.fromisoformat(str(ts)).timestamp()
        )
    except (ValueError, OverflowError, OSError):
        return 0.0
    # Others' programs write here too: a time that no clock can show is none.
    return at if 0 < at < _LATEST else 0.0
