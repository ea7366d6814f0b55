"""`appliance turns`: where the time of each answer went, straight from the store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from appliance.store import Turn

_WIDTH = 120


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(turns)


def turns(
    session_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="A call, as listed by `sessions list`.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, help="How many, newest first; of all calls.")
    ] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The latest turns, or those of one call: each stage in ms after the caller's last word."""
    from appliance.cli.sessions import open_kept_store
    from appliance.store.turns import unknown_session

    store = open_kept_store()
    if session_id is None:
        found = store.turns.latest(limit) if store else []
    elif store is None:
        raise unknown_session(session_id)
    else:
        store.sessions.get(session_id)
        found = [(session_id, turn) for turn in store.turns.list(session_id)]
    if as_json:
        typer.echo(json.dumps([_as_json(call, turn) for call, turn in found], indent=2))
    else:
        _show(found, {call.id for call in store.sessions.open()} if store else set())


def _as_json(session_id: str, turn: Turn) -> dict[str, Any]:
    """When and how fast; what was said stays with `sessions show`."""
    whole = turn.as_json()
    kept = ("index", "interrupted", "ms", "started_at", "finished_at")
    return {"session_id": session_id, **{name: whole[name] for name in kept}}


def _show(found: list[tuple[str, Turn]], open_calls: set[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    from appliance.store.vocabulary import STAGES

    table = Table("call", "turn", "began", box=None, pad_edge=False)
    for stage in STAGES:
        table.add_column(stage.replace("_", " "), justify="right")
    table.add_column("")
    last = {session_id: 0 for session_id, _turn in found}
    for session_id, turn in found:
        last[session_id] = max(last[session_id], turn.index)
    for session_id, turn in found:
        began = turn.started_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        times = ("-" if (ms := turn.ms.get(stage)) is None else str(ms) for stage in STAGES)
        # Only a call's last turn can still be answered.
        may_come = session_id in open_calls and turn.index == last[session_id]
        table.add_row(session_id, str(turn.index), began, *times, _end(turn, may_come=may_come))
    console = Console()
    # A narrow terminal folds the lines; cut ids would be of no use.
    console.width = max(console.width, _WIDTH)
    console.print(table if found else "No turns yet.")


def _end(turn: Turn, *, may_come: bool) -> str:
    if turn.interrupted:
        return "cut short"
    if turn.finished_at is None:
        return "under way" if may_come else "no answer"
    return ""
