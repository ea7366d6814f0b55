"""`appliance models`: list, pull, verify; export and import are in carrying."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from appliance.catalogue import Catalogue, ModelStatus
    from appliance.catalogue.digests import ModelCheck


def register(app: typer.Typer) -> None:
    """Add the commands."""
    from appliance.cli import carrying

    models = typer.Typer(no_args_is_help=True, help="The models: what is here, fetch, check.")
    models.command("list")(list_models)
    models.command("pull")(pull)
    models.command("verify")(verify)
    carrying.add(models)
    app.add_typer(models, name="models")


def list_models(
    task: Annotated[str, typer.Option(help="Only these: stt, llm or tts.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show every known model and every own one; a star marks the ones in use."""
    from appliance.catalogue import Catalogue
    from appliance.errors import BadInput
    from appliance.settings import load_settings

    if task not in ("", "stt", "llm", "tts"):
        raise BadInput("bad_task", f"There is no task {task!r}.", "Use stt, llm or tts.")
    rows = [row for row in Catalogue(load_settings()).list() if task in ("", row.task)]
    if as_json:
        typer.echo(json.dumps({"models": [asdict(row) for row in rows]}, ensure_ascii=False))
    else:
        _print_table(rows)


def _print_table(rows: list[ModelStatus]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "id", "task", "here", "size", "licence", "languages", "digest", "source"):
        table.add_column(name, overflow="fold", no_wrap=name in ("id", "size", "digest"))
    for row in rows:
        table.add_row(
            "*" if row.selected else "", row.id, row.task, "yes" if row.installed else "no",
            _size(row), row.licence, " ".join(row.languages),
            row.digest, row.source,
        )  # fmt: skip
    # Not a terminal: wide enough that no line is folded.
    console = Console()
    (console if console.is_terminal else Console(width=220)).print(table)


def _size(row: ModelStatus) -> str:
    from appliance.catalogue.staging import about, megabytes

    if row.size:
        return megabytes(row.size)
    return about(row.about_bytes) if row.about_bytes else "?"


def pull(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids from `models list`.")] = None,
    embedded: Annotated[bool, typer.Option(help="The small models that every box has.")] = False,
    into: Annotated[
        Path | None, typer.Option(help="Another models folder than the settings' own.")
    ] = None,
) -> None:
    """Fetch models; the one command that uses the network. Ctrl-C keeps what has arrived."""
    from appliance.catalogue import Catalogue
    from appliance.errors import BadInput
    from appliance.settings import load_settings

    settings = load_settings()
    catalogue = Catalogue(settings)
    wanted = [catalogue.entry(model_id).id for model_id in ids or []]
    if embedded:
        wanted += [entry.id for entry in catalogue.entries.values() if entry.embedded]
    if not wanted:
        raise BadInput(
            "nothing_to_pull",
            "No model was named.",
            "Name one of `models list`, or use --embedded.",
        )
    folder = (into or settings.models_path).absolute()
    with _progress() as progress:
        bars = {
            model_id: progress.add_task(model_id, total=catalogue.entry(model_id).size, said="")
            for model_id in wanted
        }
        for model_id, bar in bars.items():
            if into is None and _is_here(catalogue, model_id):
                progress.update(bar, completed=progress.tasks[bar].total, said=_SAID["already"])
            else:
                _pull_one(model_id, folder, progress, bar)


def _is_here(catalogue: Catalogue, model_id: str) -> bool:
    """Whether an undamaged copy lies in one of the models folders."""
    from appliance.catalogue.digests import verify_model
    from appliance.errors import NotFound

    try:
        return all(file.state == "ok" for file in verify_model(catalogue.find(model_id)).files)
    except NotFound:
        return False


def _progress() -> Progress:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    return Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TextColumn("{task.fields[said]}"),
    )  # fmt: skip


_SAID = {
    "waiting": "another pull is fetching it: waiting",
    "checking": "checking",
    "already": "already here",
    "done": "done",
}


def _pull_one(model_id: str, folder: Path, progress: Progress, bar: TaskID) -> None:
    from appliance.catalogue.pulling import pull_model

    for event in pull_model(model_id, folder):
        if event.kind == "progress":
            progress.update(bar, completed=event.done, total=event.total, said="")
        else:
            progress.update(bar, said=_SAID.get(event.kind, event.kind))
        if event.kind in ("already", "done"):
            progress.update(bar, completed=progress.tasks[bar].total)
        if event.kind == "waiting" and not progress.console.is_terminal:
            progress.console.print(f"{model_id}: {_SAID['waiting']}")


def verify(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids from `models list`.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every installed model.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Hash installed models and compare with the catalogue or the lock.

    Without ids: the models in use. Exit code 0; 1 one is damaged; 2 one is not installed.
    """
    from appliance.catalogue import Catalogue
    from appliance.catalogue.digests import models_in_use, verify_model
    from appliance.settings import load_settings

    settings = load_settings()
    catalogue = Catalogue(settings)
    if every:
        chosen = catalogue.all_installed()
    elif ids:
        chosen = [catalogue.find(model_id) for model_id in ids]
    else:
        chosen = models_in_use(settings, catalogue)
    checks = [verify_model(model) for model in chosen]
    if as_json:
        shown = [
            {"id": check.id, "ok": check.ok, "files": [asdict(f) for f in check.files]}
            for check in checks
        ]
        typer.echo(json.dumps({"ok": all(check.ok for check in checks), "models": shown}))
    else:
        for check in checks:
            _print_check(check)
    raise typer.Exit(0 if all(check.ok for check in checks) else 1)


def _print_check(check: ModelCheck) -> None:
    damaged = [file.name for file in check.files if file.state == "damaged"]
    unknown = [file.name for file in check.files if file.state == "unknown"]
    if damaged:
        typer.echo(
            f"{check.id}: DAMAGED {', '.join(damaged)}. Fetch it again with `scripts/appliance models pull {check.id}`."
        )
    elif unknown:
        typer.echo(f"{check.id}: no digest is known for {', '.join(unknown)}")
    else:
        typer.echo(f"{check.id}: ok")
