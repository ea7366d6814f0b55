"""`appliance backup`: copies of what the box keeps, sealed for the owner's key, and the way back."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.errors import BadInput

if TYPE_CHECKING:
    from appliance.backup.looking import Overview
    from appliance.settings import Settings
    from appliance.store import Store

_STDIN = Path("-")


def register(app: typer.Typer) -> None:
    """Add the noun to the command."""
    backup = typer.Typer(no_args_is_help=True, help="Backups: make, list, restore, and their key.")
    backup.command("key")(key)
    backup.command("create")(create)
    backup.command("list")(list_backups)
    backup.command("delete")(delete)
    backup.command("restore")(restore)
    app.add_typer(backup, name="backup")


def key(
    another: Annotated[
        bool, typer.Option("--another", help="Take the place of the key that is set.")
    ] = False,
) -> None:
    """Make the owner's key. It is printed this once; the box keeps only the part that seals."""
    from appliance.backup.keys import new_key
    from appliance.errors import Refused
    from appliance.preflight import prepare_folders
    from appliance.settings import load_settings
    from appliance.settings_file import read_file, save

    settings = load_settings()
    prepare_folders(settings)
    before = read_file(settings)
    if settings.backup.recipient and not another:
        raise Refused(
            "backup_key_set", f"Backups are sealed for {settings.backup.recipient} already.",
            "--another makes a new key; older backups still need the old one.",
        )  # fmt: skip
    made = new_key()
    save(settings, {"backup.recipient": made.recipient}, before.version)
    typer.echo("This line opens the backups. Keep it away from the box; it is not shown again.")
    typer.echo("Without it no backup can be read, by nobody.\n")
    typer.echo(f"{made.identity}\n")
    typer.echo(f"Backups are sealed for {made.recipient} from now on.")
    typer.echo("A box that runs makes them by night after `scripts/appliance restart panel`.")


def create(
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Then delete the backups with words of deleted calls."),
    ] = False,
) -> None:
    """Make a backup now. The box may run."""
    from appliance.backup.looking import replace_marked, shown
    from appliance.backup.making import NO_DATABASE, make
    from appliance.preflight import prepare_folders

    settings = _settings()
    prepare_folders(settings)
    store = _store(settings)
    gone: list[str] = []
    try:
        if replace:
            made, gone = replace_marked(settings, store)
        else:
            made = make(settings)
        _note(store, "backup.made", made.name)
        for name in gone:
            _note(store, "backup.deleted", name)
        found = shown(settings, store, made)
    finally:
        store.close()
    typer.echo(f"Made {made.path}, {found.size_said}.")
    if made.card and not made.card.database:
        typer.echo(NO_DATABASE)
    if replace:
        typer.echo(f"Deleted {len(gone)} that held words of deleted calls.")


def list_backups(
    check: Annotated[
        bool, typer.Option("--check", help="Read every one and compare its digest.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The backups, newest first. With --check: exit code 1 if one is damaged."""
    from appliance.backup.looking import look
    from appliance.backup.making import check_all

    settings = _settings()
    if check and settings.data_dir.is_dir():
        check_all(settings)
    store = _store(settings) if settings.data_dir.is_dir() else None
    try:
        found = look(settings, store)
    finally:
        if store:
            store.close()
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        _print(found)
    if check and any(one.state == "damaged" for one in found.backups):
        raise typer.Exit(1)


def delete(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The backup, as listed.")],
    sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete one backup."""
    from appliance.backup.making import alone
    from appliance.backup.shelf import Shelf

    settings = _settings()
    shelf = Shelf(settings)
    shelf.find(name)
    if not sure:
        typer.confirm(f"Delete {name}?", abort=True)
    with alone(settings):
        shelf.remove(name)
    store = _store(settings)
    _note(store, "backup.deleted", name)
    store.close()
    typer.echo(f"Deleted {name}.")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup, wherever it lies.")],
    identity: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="File with the line AGE-SECRET-KEY-1…; - reads it from stdin."
        ),
    ],
) -> None:
    """Put a backup in the place of what the box keeps; the box has to be down.

    What was there before is set aside, and put back if the restore fails.
    """
    from appliance.backup.keys import identities_in
    from appliance.backup.restoring import restore as put_back
    from appliance.cli.lenient import settings_or_least

    settings = settings_or_least()
    done = put_back(settings, _file(settings, file), identities_in(_text(identity)))
    calls = "1 call" if done.calls == 1 else f"{done.calls} calls"
    typer.echo(
        f"Restored the backup of {_clock(done.made_at)}, Earshot {done.version}: {calls} with words."
    )
    for remark in done.remarks:
        typer.echo(f"- {remark}")
    if done.aside:
        typer.echo(f"What was there before is in {done.aside}. Delete it when all is well:")
        typer.echo("it holds calls and keys that nothing else deletes.")
    typer.echo("Everybody is signed out; the password is the one of then.")


def _file(settings: Settings, file: Path) -> Path:
    """The file itself, or the backup of that name."""
    from appliance.backup.shelf import Shelf

    if not file.exists() and file.name == str(file):
        return Shelf(settings).folder / file
    return file


def _text(identity: Path) -> str:
    try:
        return sys.stdin.read() if identity == _STDIN else identity.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            "identity_unreadable", f"{identity} cannot be read.",
            "Name the file with the line that `scripts/appliance backup key` printed.",
        ) from error  # fmt: skip


def _print(found: Overview) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "made", "size", "state", "holds", box=None, pad_edge=False)
    for one in found.backups:
        cells = (one.name, _clock(one.made_at), one.size_said, one.state, one.said)
        table.add_row(*(Text(cell) for cell in cells))
    console = Console()
    # Not a terminal: wide enough that no line is folded.
    console = console if console.is_terminal else Console(width=220)
    console.print(table if found.backups else "There are no backups yet.")
    console.print(Text(found.plan))
    if found.marked:
        console.print(
            Text(
                "`scripts/appliance backup create --replace` replaces those with words of deleted calls."
            )
        )


def _settings() -> Settings:
    from appliance.settings import load_settings

    return load_settings()


def _store(settings: Settings) -> Store:
    from appliance.store import open_store

    return open_store(settings)


def _note(store: Store, action: str, name: str) -> None:
    from appliance.store.audit import Deed

    store.audit.append(Deed("command", "", action, name))


def _clock(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")
