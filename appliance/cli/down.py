"""``appliance down``: stop the box."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(down)


def down() -> None:
    """Stop the box and wait until every process is gone. Does nothing when it is not running."""
    from appliance.settings import load_settings
    from appliance.starting import stop

    print("Earshot has stopped." if stop(load_settings()) else "Earshot is not running.")
