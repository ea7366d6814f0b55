"""`appliance models export` and `import`: models for a machine without internet."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def add(models: typer.Typer) -> None:
    """Add the commands to the noun."""
    models.command("export")(export_models)
    models.command("import")(import_models)


def export_models(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Installed ones, from `models list`.")
    ] = None,
) -> None:
    """Write models as a tar to standard output, with their digests, licences and needs.

    Without ids: only the list of the embedded ones.
    """
    from appliance.catalogue.carrying import write_tar
    from appliance.errors import BadInput
    from appliance.settings import load_settings

    if sys.stdout.isatty():
        raise BadInput("no_terminal", "A tar is no text for a terminal.", "Add > models.tar.")
    write_tar(load_settings(), ids or [], sys.stdout.buffer)


def import_models() -> None:
    """Install the models of a tar from standard input; each file is checked first."""
    from appliance.catalogue.carrying import read_tar
    from appliance.errors import BadInput
    from appliance.settings import load_settings

    if sys.stdin.isatty():
        raise BadInput("no_terminal", "The tar comes by standard input.", "Add < models.tar.")
    for model_id, what in read_tar(load_settings(), sys.stdin.buffer):
        print(f"{model_id}: {'already here' if what == 'already' else 'installed'}", flush=True)
