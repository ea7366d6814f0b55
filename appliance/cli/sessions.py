"""`appliance sessions`: the calls that were held, straight from the store."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from appliance.store import Session, Store, Turn

_NOT_KEPT = "(not kept)"


def register(app: typer.Typer) -> None:
    """Add the noun to the command."""
    sessions = typer.Typer(no_args_is_help=True, help="Calls that were held.")
    sessions.command("list")(list_sessions)
    sessions.command("show")(show_session)
    app.add_typer(sessions, name="sessions")


def list_sessions(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The latest calls: when, who answered, how they ended."""
    store = _store()
    found = store.sessions.list(limit) if store else []
    if as_json:
        typer.echo(json.dumps([session.as_json() for session in found], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "began", "lasted", "persona", "state", "why", box=None, pad_edge=False)
    for session in found:
        table.add_row(
            session.id, _clock(session.created_at), _lasted(session), session.persona,
            session.state, session.reason,
        )  # fmt: skip
    Console().print(table if found else "No calls yet.")


def show_session(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="The call, as listed.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """One call with everything that was said."""
    from appliance.store.repositories import unknown_session

    store = _store()
    if store is None:
        raise unknown_session(session_id)
    session = store.sessions.get(session_id)
    turns = store.turns.list(session_id)
    if as_json:
        whole = {**session.as_json(), "turns": [turn.as_json() for turn in turns]}
        typer.echo(json.dumps(whole, indent=2, ensure_ascii=False))
        return
    _print(session, turns)


def _print(session: Session, turns: list[Turn]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    why = f" ({session.reason})" if session.reason else ""
    console.print(Text(f"{session.id}  {_clock(session.created_at)}  {_lasted(session)}"))
    console.print(Text(f"persona {session.persona}, {session.state}{why}\n"))
    for turn in turns:
        if turn.user_text is not None:
            console.print(Text(f"caller  {turn.user_text}", style="bold"))
        cut = "  [cut short]" if turn.interrupted else ""
        said = turn.agent_text if turn.agent_text is not None else _NOT_KEPT
        if turn.finished_at is None:
            said = "(no answer)"
        # Text, not markup: what people said may hold square brackets.
        console.print(Text(f"agent   {said}{cut}"))
    if not turns:
        console.print("Nothing was said.")


def _store() -> Store | None:
    """The store, or None if no call was ever held: looking must not create a data folder."""
    from appliance.settings import load_settings
    from appliance.store import open_store
    from appliance.store.engine import sqlite_path

    settings = load_settings()
    path = sqlite_path(settings.store_url)
    if path is not None and not path.exists():
        return None
    return open_store(settings)


def _clock(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _lasted(session: Session) -> str:
    if session.ended_at is None:
        return "open"
    seconds = round((session.ended_at - session.created_at).total_seconds())
    return f"{seconds // 60}:{seconds % 60:02d}"
