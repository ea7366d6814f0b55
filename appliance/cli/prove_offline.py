"""`appliance prove-offline`: anyone can see that nothing leaves the box."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("prove-offline")
    def prove_offline(
        recording: Annotated[Path | None, typer.Argument(help="What the caller says.")] = None,
        negative_control: Annotated[
            bool,
            typer.Option("--negative-control", help="Try to leave: the proof must fail."),
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ) -> None:
        """Call the box in a network without a way out, watching every program's every address.

        Meanwhile another model takes over and every page of the panel is read.

        Takes about two minutes and leaves a running box alone. Exit code 0 when nothing tried to
        leave; 1 when something did or the call failed; 3 when the machine cannot run the proof.
        """
        from rich.console import Console

        from appliance.errors import BadInput
        from appliance.proof.proving import RECORDING, prove
        from appliance.proof.reports import as_text, keep, lines
        from appliance.settings import load_settings

        if recording is not None and not recording.is_file():
            raise BadInput("no_such_file", f"There is no file {recording}.", "Give a recording.")
        settings = load_settings()
        with Console(stderr=True).status("A box of its own starts, is called, and is watched"):
            proof = prove(settings, recording or RECORDING, negative_control=negative_control)
        said = [as_text(proof)] if as_json else lines(proof)
        # What must fail is nothing to show to anybody later.
        if not negative_control:
            path = keep(settings, proof)
            said += [] if as_json else [f"kept as {path}"]
        typer.echo("\n".join(said))
        raise typer.Exit(0 if proof.holds else 1)
