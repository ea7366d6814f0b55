"""``appliance down``: stop the box."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(down)


def down() -> None:
    """Stop the box and wait until every process is gone. Does nothing when it is not running."""
    from appliance.cli.lenient import settings_or_least
    from appliance.starting import stop

    print("Earshot has stopped." if stop(settings_or_least()) else "Earshot is not running.")
