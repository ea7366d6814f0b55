"""``appliance restart``: one program, the others undisturbed."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(restart)


def restart(
    program: Annotated[str, typer.Argument(help="One of the programs that `status` names.")],
) -> None:
    """Stop one program and start it again, also one that was given up."""
    from appliance.errors import NotFound
    from appliance.rendering import programs
    from appliance.settings import load_settings
    from appliance.supervision import supervisor_of

    settings = load_settings()
    names = [known.name for known in programs(settings)]
    if program not in names:
        raise NotFound(
            "program_unknown", f"The box has no program {program!r}.", f"It has {', '.join(names)}."
        )
    supervisor_of(settings).restart(program)
    print(f"{program} is starting; `scripts/appliance status` says when it is ready.")
