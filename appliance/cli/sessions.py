"""`appliance sessions`: the calls that were held, straight from the store."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.errors import BadInput

if TYPE_CHECKING:
    from appliance.store import Session, Store, Turn

_NOT_KEPT = "(not kept)"
# Each waits for a reader for a third of a second.
_SCRUB_TRIES = 5


class Form(StrEnum):
    """What a call can be taken away as."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"


def register(app: typer.Typer) -> None:
    """Add the noun to the command."""
    sessions = typer.Typer(no_args_is_help=True, help="Calls that were held.")
    sessions.command("list")(list_sessions)
    sessions.command("show")(show_session)
    sessions.command("export")(export_session)
    sessions.command("delete")(delete_sessions)
    app.add_typer(sessions, name="sessions")


def list_sessions(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The latest calls: when, who answered, how they ended."""
    store = open_kept_store()
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
    from appliance.store.turns import unknown_session

    store = open_kept_store()
    if store is None:
        raise unknown_session(session_id)
    session = store.sessions.get(session_id)
    turns = store.turns.list(session_id)
    if as_json:
        whole = {**session.as_json(), "turns": [turn.as_json() for turn in turns]}
        typer.echo(json.dumps(whole, indent=2, ensure_ascii=False))
        return
    _print(session, turns)


def export_session(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="The call, as listed.")],
    form: Annotated[
        Form, typer.Option("--format", help="json, text or srt (subtitles).")
    ] = Form.JSON,
    output: Annotated[
        Path | None, typer.Option(help="File to write; it must not be there yet.")
    ] = None,
) -> None:
    """One call as a file; printed unless --output names one."""
    from appliance.store.turns import unknown_session
    from appliance.transcripts import export

    store = open_kept_store()
    if store is None:
        raise unknown_session(session_id)
    session = store.sessions.get(session_id)
    content = export(session, store.turns.list(session_id), form.value)
    _note(store, "call.exported", session_id, format=form.value)
    if output is None:
        typer.echo(content, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(content)
    except OSError as error:
        raise BadInput(
            "file_not_written", f"{output} cannot be written.",
            "Name a file that is not there yet, in a folder of yours.",
        ) from error  # fmt: skip
    typer.echo(f"Wrote {output}.")


def delete_sessions(
    session_id: Annotated[str | None, typer.Option("--id", help="One call, as listed.")] = None,
    older_than_days: Annotated[
        int | None,
        typer.Option(min=0, max=36_500, help="Calls that ended more than so many days ago."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every call that has ended.")] = False,
    sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete ended calls with everything that was said; open ones stay."""
    if (session_id is not None) + (older_than_days is not None) + everything != 1:
        raise BadInput(
            "bad_request", "It is not said which calls are to be deleted.",
            "Give one of --id, --older-than-days and --all.",
        )  # fmt: skip
    store = open_kept_store()
    if store is None:
        typer.echo("No calls yet.")
        return
    before = None
    if older_than_days is not None:
        before = datetime.now(UTC) - timedelta(days=older_than_days)
    number = 1
    if session_id is None:
        number = store.calls.count_ended(before)
    else:
        store.sessions.get(session_id)
    calls = "1 call" if number == 1 else f"{number} calls"
    if number == 0:
        typer.echo("There is no such call.")
        return
    if not sure:
        typer.confirm(f"Delete {calls} and everything that was said?", abort=True)
    if session_id is None:
        gone = store.calls.delete_ended(before)
        _note(store, "calls.deleted", "", calls=gone.calls, older_than_days=older_than_days)
    else:
        gone = store.calls.delete(session_id)
        _note(store, "call.deleted", session_id, turns=gone.turns)
    typer.echo(f"Deleted {gone.calls} with {gone.turns} turns.")
    if not _scrubbed(store):
        typer.echo(
            "The words are still in the database's log, because a program reads it; "
            "the panel takes them out within the hour, or at its next start."
        )
    if held := _still_held(store):
        typer.echo(f"{held} `scripts/appliance backup create --replace` replaces them.")


def _scrubbed(store: Store) -> bool:
    """Whether the words have left the files; a reader is waited for, but not long."""
    return any(store.scrub() for _ in range(_SCRUB_TRIES))


def _still_held(store: Store) -> str:
    """What backups hold of deleted calls; empty if nothing."""
    from appliance.backup.looking import look
    from appliance.errors import ApplianceError
    from appliance.settings import load_settings

    try:
        return look(load_settings(), store).still_held
    except ApplianceError as error:
        return f"{error.message} Backups there may hold these words."


def _note(store: Store, action: str, name: str, **detail: object) -> None:
    from appliance.store.audit import Deed

    store.audit.append(Deed("command", "", action, name, detail=detail))


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


def open_kept_store() -> Store | None:
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
