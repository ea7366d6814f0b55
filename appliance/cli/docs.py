"""`appliance docs` (hidden): write docs/configuration.md and .env.example from the settings."""

from __future__ import annotations

import types
import typing
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

_INTRODUCTION = """\
# Configuration

Made from the settings themselves by `scripts/appliance docs`; do not edit by hand.

A setting is looked for in this order, the later wins: the default; `settings.toml` in the data
folder; the environment. Unknown names are refused with the nearest known one.

```toml
# data/settings.toml
log_level = "info"

[front]
http_port = 8080
```
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(hidden=True)(docs)


def docs(
    check: Annotated[bool, typer.Option(help="Write nothing; exit 1 if a file is stale.")] = False,
) -> None:
    """Write the pages that are made from the settings."""
    stale = [
        path for path, text in pages().items() if not path.is_file() or path.read_text() != text
    ]
    if check:
        for path in stale:
            typer.echo(f"{path} is stale: run `scripts/appliance docs`.", err=True)
        raise typer.Exit(1 if stale else 0)
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pages()[path], encoding="utf-8")
        typer.echo(f"wrote {path}")


def pages() -> dict[Path, str]:
    """Every generated file with what must be in it."""
    from appliance.settings import PROJECT_DIR

    return {
        PROJECT_DIR / "docs" / "configuration.md": configuration_page(),
        PROJECT_DIR / ".env.example": env_example(),
    }


def configuration_page() -> str:
    """The text of docs/configuration.md."""
    from appliance.setting_groups import ALIASES
    from appliance.settings import setting_fields

    aliases = {name: alias for alias, name in ALIASES.items()}
    parts = [_INTRODUCTION]
    group = None
    for dotted, field in setting_fields():
        prefix, _, _leaf = dotted.rpartition(".")
        if prefix != group:
            group = prefix
            title = f"`[{prefix}]`" if prefix else "The box"
            parts.append(
                f"\n## {title}\n\n{_about(prefix)}"
                "| setting | environment | what | may be | default |\n|---|---|---|---|---|\n"
            )
        variables = f"`{variable(dotted)}`"
        if dotted in aliases:
            variables += f" or `{aliases[dotted]}`"
        example = f" E.g. `{field.examples[0]}`." if field.examples else ""
        cells = [
            f"`{dotted}`",
            variables,
            f"{field.description}{example}",
            _may_be(field),
            _default(field),
        ]
        parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


def env_example() -> str:
    """The text of .env.example: every variable, commented out, with its default."""
    from appliance import __version__
    from appliance.settings import setting_fields

    lines = [
        "# Copy this to .env and uncomment what you change. Docker compose reads it by itself; without Docker:",
        "# `set -a; . ./.env; set +a` in your shell.",
        "# Every setting as an environment variable, with its default. docs/configuration.md explains.",
        '# A list stands in single quotes: \'["one", "two"]\'.',
        "",
        "# For Docker alone: the compose files of this box, its name where a machine has several, its image.",
        "#COMPOSE_FILE=docker-compose.yml:docker-compose.cpu.yml",
        "#COMPOSE_PROJECT_NAME=earshot",
        f"#EARSHOT_IMAGE=earshot:{__version__}-cpu",
        "# In the image some defaults differ: folders are /data and /models and stay so,",
        "# APPLIANCE_FRONT__LAN is true, APPLIANCE_GPU is required (off in the image for the CPU).",
    ]
    for dotted, field in setting_fields():
        default = _default(field).strip("`")
        if default == "[]":
            default = "'[]'"
        lines += [
            "",
            f"# {field.description}",
            f"#{variable(dotted)}={'' if default in ('unset', 'empty') else default}",
        ]
    return "\n".join(lines) + "\n"


def variable(dotted: str) -> str:
    """A setting's environment variable."""
    return "APPLIANCE_" + dotted.upper().replace(".", "__")


def _about(group: str) -> str:
    from appliance.settings import Settings

    if not group:
        return ""
    kind: Any = Settings.model_fields[group].annotation
    return f"{(kind.__doc__ or '').strip()}\n\n"


def _may_be(field: Any) -> str:
    """The type in plain words, with its bounds."""
    kind = field.annotation
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(kind))
    names = {"int": "whole number", "float": "number", "bool": "true or false", "Path": "path"}
    words = names.get(kind.__name__, "text")
    bounds = []
    for rule in field.metadata:
        for sign, name in (("≥", "ge"), (">", "gt"), ("≤", "le"), ("<", "lt")):
            if getattr(rule, name, None) is not None:
                bounds.append(f"{sign} {getattr(rule, name)}")
    return words + (f" {', '.join(bounds)}" if bounds else "")


def _default(field: Any) -> str:
    """The default as it would be typed; folders relative to the project."""
    from pathlib import Path

    from pydantic import SecretStr

    from appliance.settings import PROJECT_DIR

    value = field.get_default(call_default_factory=True)
    if value is None:
        return "unset"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Path):
        value = (
            f"./{value.relative_to(PROJECT_DIR)}" if value.is_relative_to(PROJECT_DIR) else value
        )
    return f"`{value}`" if value != "" else "empty"
