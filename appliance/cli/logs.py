"""``appliance logs``: what the programs wrote, newest last."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from appliance.logfiles import LogLine

_POLL_S = 0.25
_COLOURS = {
    "warning": "yellow",
    "warn": "yellow",
    "error": "red",
    "critical": "red",
    "fatal": "red",
}


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
    from appliance.logfiles import LogFile, latest, log_names, log_path

    settings = settings_or_least()
    known = log_names(settings)
    if program and program not in known:
        raise NotFound(
            "program_unknown", f"There is no program {program!r}.", f"There are {', '.join(known)}."
        )
    console = Console(highlight=False, soft_wrap=True)
    files = [LogFile(log_path(settings, name)) for name in ([program] if program else known)]
    for line in latest(files, lines):
        _show(console, line, as_json=as_json)
    while follow:
        time.sleep(_POLL_S)
        new = [line for file in files for line in file.new_lines()]
        for line in sorted(new, key=lambda line: line.at):
            _show(console, line, as_json=as_json)


def _show(console: Console, line: LogLine, *, as_json: bool) -> None:
    from rich.text import Text

    if as_json:
        print(line.raw, flush=True)
        return
    level = str(line.fields.get("level", ""))
    console.print(
        Text.assemble(
            (line.clock, "dim"), " ", (f"{line.program:11}", "cyan"), " ",
            (f"{level:8}", _COLOURS.get(level, "dim")), line.event, " ", (line.rest, "dim"),
        )
    )  # fmt: skip
