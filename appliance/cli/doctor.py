"""`appliance doctor`: what is wrong with this machine, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from appliance.checks import Result


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Look for every known problem. Exit code 1 when something must be mended."""
    import json

    from appliance.checks import run_checks
    from appliance.settings import load_settings

    results = run_checks(load_settings())
    healthy = all(result.finding.state != "fail" for result in results)
    if as_json:
        checks = [
            {
                "name": result.name, "checks": result.checks, "state": result.finding.state,
                "message": result.finding.message, "hint": result.finding.hint,
            }
            for result in results
        ]  # fmt: skip
        print(json.dumps({"ok": healthy, "checks": checks}, ensure_ascii=False))
    else:
        _show(results)
    raise typer.Exit(0 if healthy else 1)


def _show(results: list[Result]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    for result in results:
        finding = result.finding
        console.print(
            Text.assemble(
                (f"{finding.state:5}", colours[finding.state]),
                f"{result.name:20}{finding.message}",
            )
        )
        if finding.hint:
            console.print(Text(" " * 25 + finding.hint))
