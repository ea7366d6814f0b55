"""`appliance admin`: what only somebody at the box may do, whatever the panel says."""

from __future__ import annotations

import getpass
import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from appliance.settings import Settings
    from appliance.store import Store


def register(app: typer.Typer) -> None:
    """Add the noun to the command."""
    admin = typer.Typer(no_args_is_help=True, help="The owner's password, and the audit log.")
    admin.command("reset")(reset)
    admin.command("audit")(audit)
    app.add_typer(admin, name="admin")


def reset() -> None:
    """Forget the password, sign every browser out, print a link to set a new one.

    API keys, join links and calls are left as they are.
    """
    from appliance.set_up import forget_set_up_links, new_set_up_link
    from appliance.welcome import each_way

    settings, store = _open()
    forget_set_up_links(settings)
    store.owner.forget()
    link = new_set_up_link(settings)
    _note(store, "owner.reset")
    typer.echo("The password is forgotten and every browser is signed out.")
    typer.echo("Open this link to set a new one; it works once:")
    for way in each_way(settings, link):
        typer.echo(f"  {way}")


def audit(
    verify: Annotated[
        bool, typer.Option("--verify", help="Check that no row was changed or taken out.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many, newest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Who did what, and from where. With --verify: exit code 1 if the log was tampered with."""
    _settings, store = _open()
    if verify:
        found = store.audit.verify()
        if as_json:
            typer.echo(json.dumps({"rows": found.rows, "broken_at": found.broken_at,
                                   "last_digest": found.last_digest}))  # fmt: skip
        elif found.broken_at is None:
            typer.echo(f"All {found.rows} rows are as they were written.")
            typer.echo(f"The last one's digest: {found.last_digest}")
        else:
            typer.echo(f"Row {found.broken_at} was changed, or is missing.")
        raise typer.Exit(0 if found.broken_at is None else 1)
    rows, _total = store.audit.list(limit)
    if as_json:
        typer.echo(json.dumps([row.as_json() for row in rows], indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("when", "who", "from", "what", "on", "result", box=None, pad_edge=False)
    for row in rows:
        when = row.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        cells = (when, row.actor, row.address, row.action, row.object, row.result)
        table.add_row(*(Text(cell) for cell in cells))
    Console().print(table if rows else "Nothing has been noted yet.")


def _open() -> tuple[Settings, Store]:
    from appliance.preflight import prepare_folders
    from appliance.settings import load_settings
    from appliance.store import open_store

    settings = load_settings()
    prepare_folders(settings)
    return settings, open_store(settings)


def _note(store: Store, action: str) -> None:
    from appliance.store.audit import Deed

    try:
        who = getpass.getuser()
    except (KeyError, OSError):
        who = "?"  # a user id without a name, as in a container
    store.audit.append(Deed("command", f"terminal of {who}", action))
