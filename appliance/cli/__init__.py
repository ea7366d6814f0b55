"""The ``appliance`` command: one file per noun, each with ``register(app)``."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated

import typer

from appliance import __version__
from appliance import logs as json_logs
from appliance.errors import ApplianceError, BadSettings

# In the order in which help lists them.
NOUNS = (
    "run", "down", "status", "address", "logs", "restart", "doctor", "call", "bench", "models",
    "sessions", "turns", "admin", "backup", "prove_offline", "database", "docs",
)  # fmt: skip

UNEXPECTED_EXIT = 1
INTERRUPTED_EXIT = 130


def build() -> typer.Typer:
    """The command with all its nouns."""
    app = typer.Typer(
        name="appliance",
        help="Earshot: a private voice assistant in a box.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for noun in NOUNS:
        import_module(f"appliance.cli.{noun}").register(app)
    return app


def main() -> int:
    """Run the command line; returns the exit code. Never shows a traceback."""
    try:
        build()(prog_name="scripts/appliance")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except ApplianceError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT
    except Exception:  # noqa: BLE001 - the person gets a sentence, the log file the rest
        return _unexpected()
    return 0


def _unexpected() -> int:
    """Log the present exception; one sentence on stderr."""
    where = _log_to_file()
    json_logs.get(__name__).exception("command_failed", arguments=sys.argv[1:2])
    hint = (
        f"{where} has the details." if where else "Set APPLIANCE_DATA_DIR to a folder for details."
    )
    print(f"Something went wrong that Earshot did not expect. {hint}", file=sys.stderr)
    return UNEXPECTED_EXIT


def _print_version(asked: bool) -> None:
    if asked:
        print(f"Earshot {__version__}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    _log_to_file()


def _log_to_file() -> str:
    """Keep log lines out of the command's own output; returns the file, or "" where there is none."""
    import logging
    from logging.handlers import RotatingFileHandler

    from appliance.settings import load_settings

    try:
        settings = load_settings()
    except BadSettings:
        settings = None  # the command itself will say so
    json_logs.configure("command", settings.log_level if settings else "info")
    root = logging.getLogger()
    formatter = root.handlers[0].formatter
    folder = settings.data_dir / "logs" if settings else None
    if folder is None or not folder.is_dir():
        root.handlers[:] = [logging.NullHandler()]
        return ""
    path = folder / "command.log"
    try:
        handler = RotatingFileHandler(path, maxBytes=1_000_000, backupCount=1)
    except OSError:
        root.handlers[:] = [logging.NullHandler()]
        return ""
    handler.setFormatter(formatter)
    root.handlers[:] = [handler]
    return str(path)
