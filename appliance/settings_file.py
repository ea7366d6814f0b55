"""settings.toml as a whole: read, checked, changed line by line, and written at once or not at all."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError, create_model

from appliance.errors import ApplianceError, BadInput, BadSettings
from appliance.files import exclusive, write_whole
from appliance.setting_effects import FIXED, NAMED_ELSEWHERE
from appliance.setting_groups import Group
from appliance.settings import Settings, environment_name, explain, setting_names
from appliance.settings_text import edited

Values = dict[str, Any]
"""Settings by dotted name, as TOML has them: text, numbers, lists of text."""

# The settings without their sources: what a file says is judged without the environment.
_FromFile = create_model(
    "_FromFile",
    __base__=Group,
    **{name: (field.annotation, field) for name, field in Settings.model_fields.items()},  # type: ignore[call-overload]
)


class ChangedMeanwhile(ApplianceError):
    """Somebody else has saved the same thing since it was read."""

    http_status = 409


@dataclass(frozen=True)
class SettingsFile:
    """What the file said when it was read.

    Attributes:
        text: the whole file; empty if there is none.
        values: what it sets.
        version: changes with every change of the file.
    """

    text: str
    values: Values
    version: str


def read_file(settings: Settings) -> SettingsFile:
    """The owner's settings.toml; an empty one if there is none.

    Raises:
        BadSettings: it cannot be read or is not TOML; says which line.
    """
    path = settings.settings_file
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(
            "settings_unreadable", f"{path} cannot be read.",
            "Check its owner and that it is UTF-8.",
        ) from error  # fmt: skip
    return SettingsFile(text, parse(text, str(path)), version_of(text))


def version_of(text: str) -> str:
    """A short name of exactly this text."""
    return sha256(text.encode()).hexdigest()[:16]


def parse(text: str, name: str = "The text") -> Values:
    """What a settings.toml sets.

    Raises:
        BadSettings: it is not TOML; says which line.
    """
    try:
        return flattened(tomllib.loads(text))
    except (ValueError, RecursionError) as error:
        # Beyond TOML's own errors: a number of thousands of digits, or lists in lists in lists.
        why = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "a value is too large"
        raise BadSettings(
            "settings_unreadable", f"{name} is not valid TOML: {why}.",
            "Mend that line or remove it.",
        ) from error  # fmt: skip


def flattened(tree: dict[str, Any]) -> Values:
    """Dotted names instead of tables."""
    found: Values = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= {f"{name}.{inner}": one for inner, one in value.items()}
        else:
            found[name] = value
    return found


def problems(values: Values, path: Path | None = None) -> dict[str, BadSettings]:
    """What is wrong with these values, by the name of the setting; the words of ``load_settings``."""
    found = {
        name: problem for name, value in values.items() if (problem := _untypable(name, value))
    }
    try:
        _FromFile.model_validate(_tree(values))
    except ValidationError as error:
        known = set(setting_names())
        for one in error.errors():
            parts = [str(part) for part in one["loc"]]
            # A list's third entry is the list's problem.
            name = next(
                (".".join(parts[:n]) for n in (2, 1) if ".".join(parts[:n]) in known),
                ".".join(parts),
            )
            found.setdefault(name, explain(one, path))
    return found


def typed(values: Values) -> Values:
    """The same values with the types of their settings: a number for ``"8080"``.

    Raises:
        ValidationError: one of them is impossible; ``problems`` says it in words.
    """
    whole = _FromFile.model_validate(_tree(values))
    found: Values = {}
    for name in values:
        value: Any = whole
        for part in name.split("."):
            value = getattr(value, part)
        found[name] = plain(value)
    return found


def plain(value: Any) -> Any:
    """A setting's value as TOML has it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value) if isinstance(value, Path) else value


def defaults() -> Values:
    """Every setting's default."""
    whole = _FromFile()
    found: Values = {}
    for name in setting_names():
        value: Any = whole
        for part in name.split("."):
            value = getattr(value, part)
        found[name] = plain(value)
    return found


def effective(settings: Settings, values: Values) -> Settings:
    """The settings of a box that is started with these values in its file, environment included.

    Raises:
        ValidationError: one of them is impossible.
    """
    given = {n: v for n, v in values.items() if not environment_name(n) and n != "data_dir"}
    whole = _FromFile.model_validate(_tree(given))
    copied: dict[str, Any] = {"data_dir": settings.data_dir}
    for name in type(whole).model_fields:
        value = getattr(whole, name)
        if isinstance(value, BaseModel):
            ours = getattr(settings, name)
            fixed = {
                f: getattr(ours, f)
                for f in type(value).model_fields
                if environment_name(f"{name}.{f}")
            }
            copied[name] = value.model_copy(update=fixed)
        elif name not in FIXED and not environment_name(name):
            copied[name] = value
    return settings.model_copy(update=copied)


def save(settings: Settings, changes: Values, version: str, *, tried: bool = False) -> SettingsFile:
    """Change some settings in the file; None as a value goes back to the default.

    Comments and the order of the lines stay, unless the file is written in a way that only a
    rewrite can change.

    Args:
        settings: the box's.
        changes: new values by name.
        version: of the file that the changes were made on.
        tried: a switch of models has tried them, so a fixed setting may be among them.

    Raises:
        ChangedMeanwhile: the file is another one by now.
        BadInput: a value is impossible, or the setting is not changed here.
        BadSettings: the file as it is cannot be read.
    """
    with exclusive(settings.data_dir / "settings.lock"):
        before = read_file(settings)
        if version != before.version:
            raise ChangedMeanwhile(
                "settings_changed", "The settings were changed meanwhile by somebody else.",
                "Look at them again, then make your change once more.",
            )  # fmt: skip
        after = changed(before, changes, tried=tried)
        text = edited(before.text, after) if after != before.values else before.text
        try:
            write_whole(settings.settings_file.resolve(), text)
        except OSError as error:
            raise ApplianceError(
                "settings_not_written", f"{settings.settings_file} cannot be written.",
                "Check the disk's free space and the file's owner; nothing was changed.",
            ) from error  # fmt: skip
        return SettingsFile(text, after, version_of(text))


def changed(before: SettingsFile, changes: Values, *, tried: bool = False) -> Values:
    """What the file will set after these changes; ``tried`` as for ``save``.

    Raises:
        BadInput: a value is impossible, or the setting is not changed here.
    """
    known = set(setting_names())
    for name in changes:
        if name in Settings.model_fields and name not in known:
            raise BadInput(
                "setting_unknown", f"{name!r} is a group of settings.", "Name one of its settings."
            )
        if (why := why_fixed(name, before.values, changes)) and not tried:
            raise BadInput("setting_fixed", f"The setting {name!r} is not changed here.", why)
        if variable := environment_name(name):
            raise BadInput(
                "setting_from_environment",
                f"The setting {name!r} comes from the environment variable {variable}.",
                "Remove that variable to set it here.",
            )
    kept = {name: value for name, value in before.values.items() if name not in changes}
    wished = {name: value for name, value in changes.items() if value is not None}
    if wrong := problems({**kept, **wished}):
        first = next(iter(wrong.values()))
        raise BadInput(first.code, first.message, first.hint)
    right = typed({**kept, **wished})
    # What was not touched stays as it is written, also where another way to write it means the same.
    return {name: right[name] if name in wished else kept[name] for name in right}


def why_fixed(name: str, *values: Values) -> str:
    """Why the owner does not change a setting of the file; empty if they do.

    Args:
        name: of the setting.
        values: what the file sets, and what it is to set.
    """
    url = NAMED_ELSEWHERE.get(name, "")
    if url and (environment_name(url) or any(one.get(url) for one in values)):
        return ""
    return FIXED.get(name, "")


def with_names(before: Values, changes: Values) -> Values:
    """The changes; where another server is given up, the name of its model goes with it."""
    gone = {
        name: None
        for name, url in NAMED_ELSEWHERE.items()
        if name in before and before.get(url) and url in changes and not changes[url]
    }
    return {**gone, **changes}


def _untypable(name: str, value: Any) -> BadSettings | None:
    """A value that TOML or a program could not take as it is, whatever its setting's type."""
    texts = value if isinstance(value, list) else [value]
    if any(isinstance(one, float) and not math.isfinite(one) for one in texts):
        what = "must be a number"
    elif any(isinstance(one, str) and not one.isprintable() for one in texts):
        what = "has a character that cannot be typed"
    else:
        return None
    return BadSettings(
        "setting_invalid", f"The setting {name!r} (given value) {what}.",
        "docs/configuration.md says what it may be.",
    )  # fmt: skip


def _tree(values: Values) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in values.items():
        group, _, leaf = name.partition(".")
        if leaf and isinstance(tree.setdefault(group, {}), dict):
            tree[group][leaf] = value
        elif not leaf:
            tree[name] = value
    return tree
