"""`appliance bench`: synthetic callers on the running box, and how long they wait."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from appliance.measuring.run import Result


T = TypeVar("T")


class Baseline(StrEnum):
    """What the box can be compared with."""

    STOCK = "stock"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def bench(  # noqa: PLR0913, PLR0917 - each option is an argument
        rooms: Annotated[int, typer.Option(min=1, max=64, help="Callers at once.")] = 1,
        turns: Annotated[int, typer.Option(min=1, max=1000, help="Questions of each caller.")] = 5,
        pauses: Annotated[
            int, typer.Option(min=0, max=1000, help="Besides, questions with a pause in them.")
        ] = 0,
        barge_ins: Annotated[
            int, typer.Option(min=0, max=1000, help="Besides, long answers that are spoken into.")
        ] = 0,
        overlap: Annotated[
            bool, typer.Option("--overlap", help="Callers speak when they like, not in turn.")
        ] = False,
        recordings: Annotated[
            Path | None, typer.Option(help="Folder of spoken questions instead of Earshot's own.")
        ] = None,
        persona: Annotated[str | None, typer.Option(help="Who shall answer.")] = None,
        baseline: Annotated[
            Baseline | None,
            typer.Option(help="Measure this too, in turn; from a development folder only."),
        ] = None,
        note: Annotated[str, typer.Option(help="Kept with the figures.")] = "",
        out: Annotated[
            Path | None, typer.Option(help="Folder for the results instead of the data folder's.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ) -> None:
        """Call the box that runs here with recorded questions and time the answers at the ear.

        Takes as many seats as there are rooms. Exit code 0; 1 no answers, or the result could not
        be written; 2 bad input; 3 the box is not ready, in use, or has too few seats.
        """
        from appliance.measuring import results
        from appliance.measuring.plan import RECORDINGS, Plan, Voices
        from appliance.settings import load_settings

        plan = Plan(rooms, turns, pauses, barge_ins, overlap)
        voices = Voices.read(recordings or RECORDINGS)
        settings = load_settings()
        folder = out or results.folder_of(settings)
        results.writable(folder)

        def broken_off(result: Result) -> None:
            # Before the baseline is stopped, which takes a while: whoever waits may grow impatient.
            _keep_rest(folder, result.as_json())

        async def run() -> Result:
            from appliance.measuring.run import Task, measure
            from appliance.measuring.sides import check_seats, models_of, ours
            from appliance.measuring.watching import Watch

            await check_seats(settings, rooms)
            sides = [ours(settings, persona)]
            async with AsyncExitStack() as stack:
                if baseline is not None:
                    sides.append(await stack.enter_async_context(_stock(settings, rooms, persona)))
                task = Task(plan, voices, models_of(settings), note)
                return await measure(task, sides, Watch.of(settings), _say, broken_off)

        with results.alone(settings):
            _hand_over(folder, run_until_told(run()).as_json(), as_json=as_json)
            if out is None:
                results.tidy(folder)


def run_until_told(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run``, which SIGTERM ends like Ctrl-C does: what was started for it is stopped first."""

    async def watched() -> T:
        task = asyncio.ensure_future(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None


def _hand_over(folder: Path, result: Mapping[str, Any], *, as_json: bool) -> None:
    """Write the result and print it; what cannot be written is printed all the same."""
    from appliance.errors import ApplianceError
    from appliance.measuring import results

    path: Path | None = None
    problem: ApplianceError | None = None
    try:
        path = results.write(folder, result)
    except ApplianceError as error:
        problem = error
    if as_json:
        typer.echo(json.dumps({**result, "file": str(path) if path else None}))
    else:
        _show(result)
        if path:
            typer.echo(f"\nEvery turn: {path}\nPicture:    {path.with_suffix('.svg')}")
    if problem:
        raise problem


def _keep_rest(folder: Path, result: Mapping[str, Any]) -> None:
    """Write what there is of a measurement that goes no further, and say where, on stderr."""
    from appliance.errors import ApplianceError
    from appliance.measuring import results

    try:
        said = f"The measurement broke off. What was measured is in {results.write(folder, result)}"
    except ApplianceError as error:
        said = str(error)
    _on_stderr(said)


def _say(done: int, total: int) -> None:
    """On stderr, a line each: the panel reads them."""
    _on_stderr(f"{done} of {total}")


def _on_stderr(line: str) -> None:
    """Say it to whoever reads; once nobody does, what is measured is worth more than being heard."""
    try:
        print(line, file=sys.stderr, flush=True)
    except BrokenPipeError:
        # Also what is still in the buffer goes there, and what is logged later.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)


def _stock(settings: Any, rooms: int, persona: str | None) -> Any:
    """The baseline, from the folder that only a development installation has."""
    from importlib import import_module

    from appliance.errors import BadInput

    try:
        stock = import_module("bench.stock")
    except ModuleNotFoundError as error:
        raise BadInput(
            "no_baseline", "The baseline is not part of this installation.",
            "Run it from a folder with Earshot's sources, set up with `scripts/setup --dev`.",
        ) from error  # fmt: skip
    return stock.baseline(settings, rooms, persona)


def _show(result: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from appliance.measuring.chart import HEADINGS

    console = Console()
    for name in ("ours", "stock"):
        if name not in result:
            continue
        found = result[name]
        for heading, titles in HEADINGS.items():
            table = Table(f"ms {heading}", "n", "p50", "p90", "p99", "max", title=name)
            for column in table.columns[1:]:
                column.justify = "right"
            for stage, title in titles.items():
                if row := found[f"{stage}_ms"]:
                    ranks = (f"{row[rank]:.0f}" for rank in ("n", "p50", "p90", "p99", "max"))
                    table.add_row(title, *ranks)
            if table.rows:
                console.print(table)
        console.print(_told(found), highlight=False)
    for name, value in result["ratio"].items():
        console.print(f"ours / stock, {name.replace('_', ' ')}: {value:.2f}", highlight=False)
    if beside := result["callers_beside"]:
        who = "another caller was" if beside == 1 else f"up to {beside} other callers were"
        console.print(f"spoilt: {who} on the line meanwhile", highlight=False)


def _told(found: Mapping[str, Any]) -> str:
    """What stands under the table, a line each."""
    asked, paused, memory = found["questions"], found["pauses"], found["memory_mb"]
    over = found["barge_ins"]
    lines = [
        f"answered {asked['answered']} of {asked['asked']}, cut into {asked['cut_into']}",
        f"memory {memory['total']} MB, of the programs",
    ]
    if found["p90_over_p50"]:
        lines[0] += f", p90 / p50 {found['p90_over_p50']}"
    if paused["made"]:
        failed = f", {paused['failed']} failed" if paused["failed"] else ""
        lines.append(f"spoke into {paused['spoken_into']} of {paused['made']} pauses{failed}")
    if over["made"]:
        lines.append(
            f"silenced by {over['silenced']} of {over['made']} barge-ins, "
            f"spoke on in {over['never_silent']}"
        )
    if cpu := found["cpu_percent"]:
        lines.append(f"processors {cpu['mean']} %, at most {cpu['max']} %, callers included")
    if gpu := found["gpu_percent"]:
        lines.append(f"GPU {gpu['mean']} %, memory {found['gpu_memory_mb']} MB")
    if (llm := found["llm"]) and llm["tokens_per_s"] is not None:
        lines.append(f"language model {llm['tokens_per_s']} tokens/s, streams: {llm['streams']}")
    return "\n".join(lines)
