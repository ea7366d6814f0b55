"""`appliance database`: what `scripts/appliance update` does to the database while the box is down."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the noun, which people have no need to see."""
    database = typer.Typer(
        no_args_is_help=True, help="The copy of the database that an update keeps."
    )
    database.command("keep")(keep)
    database.command("put-back")(put_back)
    database.command("drop")(drop)
    app.add_typer(database, name="database", hidden=True)


def keep() -> None:
    """Copy the database; the box must be down."""
    from appliance.settings import load_settings
    from appliance.store import keeping

    settings = load_settings()
    with keeping.box_down(settings.data_dir):
        kept = keeping.keep(settings.store_url, settings.data_dir)
    typer.echo("The database is copied." if kept else "There is no database yet.")


def put_back() -> None:
    """Put the copy in the database's place; the box must be down."""
    from appliance.settings import load_settings
    from appliance.store import keeping

    settings = load_settings()
    with keeping.box_down(settings.data_dir):
        keeping.put_back(settings.store_url, settings.data_dir)
    typer.echo("The database of before is back.")


def drop() -> None:
    """Delete the copy."""
    from appliance.settings import load_settings
    from appliance.store import keeping

    keeping.drop(load_settings().data_dir)
