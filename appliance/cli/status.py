"""``appliance status``: every program, whether it is ready, and why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from appliance.status import BoxStatus

_NOT_READY_EXIT = 3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)


def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Say how every program of the box is. Exit code 3 when the box is not ready."""
    import asyncio
    import json
    from dataclasses import asdict

    from appliance.running import as_started
    from appliance.settings import load_settings
    from appliance.status import box_status

    settings = load_settings()
    box = asyncio.run(box_status(settings))
    if as_json:
        print(json.dumps(asdict(box)))
    else:
        _show(box, as_started(settings).front_url)
    if not box.ready:
        raise typer.Exit(_NOT_READY_EXIT)


def _show(box: BoxStatus, address: str) -> None:
    from rich.console import Console
    from rich.table import Table

    if all(program.state == "stopped" for program in box.programs):
        print("Earshot is not running. Start it with scripts/run.")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("program", "state", "up", "restarts", "memory", ""):
        table.add_column(
            column, justify="right" if column in ("up", "restarts", "memory") else "left"
        )
    for program in box.programs:
        colour = (
            "green"
            if program.ready
            else "yellow"
            if program.state in ("starting", "loading")
            else "red"
        )
        table.add_row(
            program.name, f"[{colour}]{program.state}[/]", _duration(program.uptime_s), str(program.restarts),
            f"{program.memory_mb} MB", program.why,
        )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(f"Ready at {address}" if box.ready else "Not ready.")


def _duration(seconds: int) -> str:
    """Seconds as people say them: 42 s, 3 min, 5 h, 2 d."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
