"""`appliance database`: what `scripts/appliance update` does to the database while the box is down."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the noun, which people have no need to see."""
    database = typer.Typer(
        no_args_is_help=True, help="The copy of the database that an update keeps."
    )
    database.command("kind")(kind)
    database.command("keep")(keep)
    database.command("put-back")(put_back)
    database.command("drop")(drop)
    app.add_typer(database, name="database", hidden=True)


def kind() -> None:
    """Say whether the database is a `file` or a `server`'s."""
    from appliance.settings import load_settings
    from appliance.store import keeping

    typer.echo("file" if keeping.is_file(load_settings().store_url) else "server")


def keep() -> None:
    """Copy the database; the box must be down. `update` reads the first word: `kept` or `nothing`."""
    from appliance.settings import load_settings
    from appliance.store import keeping

    settings = load_settings()
    with keeping.box_down(settings.data_dir):
        kept = keeping.keep(settings.store_url, settings.data_dir)
    typer.echo("kept: the database is copied" if kept else "nothing: there is no database yet")


def put_back(
    aside: Annotated[bool, typer.Option("--aside", help="Keep the newer one beside it.")] = False,
) -> None:
    """Put the copy in the database's place; the box must be down. Done before, it changes nothing."""
    from appliance.errors import NotFound
    from appliance.settings import load_settings
    from appliance.store import keeping

    settings = load_settings()
    try:
        with keeping.box_down(settings.data_dir):
            keeping.put_back(settings.store_url, settings.data_dir, aside=aside)
    except NotFound as done:
        # Whoever was cut off after it was put back must get on.
        typer.echo(done.message)
        return
    typer.echo("The database of before is back.")
    if aside:
        typer.echo(f"The newer one is {settings.data_dir / keeping.ASIDE_NAME}: delete it in time.")


def drop() -> None:
    """Delete the copy."""
    from appliance.settings import load_settings
    from appliance.store import keeping

    keeping.drop(load_settings().data_dir)
