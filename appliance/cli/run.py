"""``appliance run``: start the box and wait until it is ready."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from appliance.settings import Settings
    from appliance.status import BoxStatus


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(run)


def run(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Leave it running; `appliance down` stops it.")
    ] = False,
) -> None:
    """Start the box; without --detach it runs until Ctrl-C or the terminal closes."""
    from appliance.running import as_started
    from appliance.settings import load_settings
    from appliance.starting import AlreadyRunning, already_running, await_running, start
    from appliance.welcome import set_up_lines

    settings = load_settings()
    try:
        with _Terminal(settings, held=not detach) as report:
            code = start(settings, detach=detach, report=report)
    except AlreadyRunning:
        if not detach:
            raise
        await_running(
            settings, lambda: print("Earshot is starting; waiting until it is ready.", flush=True)
        )
        # Asked twice to leave it running: it does.
        print(already_running(settings))
        for line in set_up_lines(as_started(settings)):
            print(line)
        code = 0
    raise typer.Exit(code)


class _Terminal:
    """One line per program while it starts, then the address."""

    def __init__(self, settings: Settings, *, held: bool) -> None:
        from rich.console import Console

        self._settings = settings
        self._held = held
        self._console = Console(highlight=False)
        self._progress: Progress | None = None
        self._lines: dict[str, TaskID] = {}
        self._began = time.monotonic()
        self._took_s: dict[str, float] = {}

    def __enter__(self) -> _Terminal:
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()

    def warn(self, sentence: str) -> None:
        self._say(f"[yellow]Warning:[/] {sentence}")

    def progress(self, box: BoxStatus) -> None:
        for program in box.programs:
            if program.ready:
                self._took_s.setdefault(program.name, time.monotonic() - self._began)
        if not self._console.is_terminal:
            return
        lines = self._progress or self._open(box)
        for program in box.programs:
            lines.update(
                self._lines[program.name], completed=int(program.ready), state=program.state
            )

    def _open(self, box: BoxStatus) -> Progress:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"), TextColumn("{task.description:8}"),
            TextColumn("{task.fields[state]:10}"), TimeElapsedColumn(),
            console=self._console, transient=True,
        )  # fmt: skip
        self._progress.start()
        for program in box.programs:
            self._lines[program.name] = self._progress.add_task(
                program.name, total=1, state=program.state
            )
        return self._progress

    def _close(self) -> None:
        lines, self._progress = self._progress, None
        if lines is not None:
            with suppress(OSError):
                lines.stop()

    def _say(self, text: str) -> None:
        # A terminal that was closed takes no more words, and the box still has to be stopped.
        with suppress(OSError):
            self._console.print(text, soft_wrap=True)

    def ready(self, box: BoxStatus) -> None:
        from appliance.addresses import lan_url
        from appliance.welcome import set_up_lines

        self._close()
        for program in box.programs:
            if program.ready:
                self._say(f"{program.name:8} ready after {self._took_s[program.name]:4.1f} s")
            else:
                self._say(f"[yellow]{program.name:8} not ready:[/] {program.why or program.state}")
        how = "is ready" if box.ready else "takes no calls yet; its panel is"
        self._say(f"Earshot {how} at [bold]{self._settings.front_url}[/]")
        if there := lan_url(self._settings):
            self._say(f"In the network it is at [bold]{there}[/]")
        for line in set_up_lines(self._settings):
            self._say(line)
        end = "Ctrl-C stops it." if self._held else "`scripts/appliance down` stops it."
        self._say(end)

    def stopping(self) -> None:
        self._close()
        self._say("Stopping. Ctrl-C again does not wait.")

    def stopped(self) -> None:
        self._say("Earshot has stopped.")
