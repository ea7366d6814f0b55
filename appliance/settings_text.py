"""Changes in the text of a settings.toml that leave the owner's comments where they are."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from typing import Any

_HEADER = re.compile(r"^\s*\[\s*([A-Za-z0-9_-]+)\s*\]\s*(#.*)?$")
_KEY = re.compile(r"^(\s*([A-Za-z0-9_.\s-]+?)\s*=\s*)(.*)$", re.DOTALL)


@dataclass
class _Entry:
    """Some lines of the file; with a name if they set that setting."""

    lines: list[str]
    group: str
    name: str = ""
    before: str = ""
    comment: str = ""


def edited(text: str, after: dict[str, Any]) -> str:
    """The text changed so that it sets exactly ``after``.

    Where its form cannot be changed line by line, it is written anew, without its comments.
    """
    found = _edited(text, after)
    return found if found is not None else toml_text(after)


def keeps_comments(text: str, after: dict[str, Any]) -> bool:
    """Whether ``edited`` can leave the owner's lines as they are."""
    return _edited(text, after) is not None


def toml_text(values: dict[str, Any]) -> str:
    """A settings.toml that sets these values."""
    groups: dict[str, list[str]] = {"": []}
    for name, value in values.items():
        group, _, leaf = name.rpartition(".")
        groups.setdefault(group, []).append(f"{leaf} = {_toml(value)}\n")
    parts = ["".join(groups.pop(""))]
    parts += [f"[{group}]\n{''.join(lines)}" for group, lines in groups.items()]
    return "\n".join(part for part in parts if part)


def _edited(text: str, after: dict[str, Any]) -> str | None:
    entries = _entries(text)
    if entries is None:
        return None
    present = {entry.name for entry in entries if entry.name}
    kept: list[_Entry] = []
    for entry in entries:
        if entry.name and entry.name not in after:
            continue
        if entry.name and not _says(entry, after[entry.name]):
            entry.lines = [f"{entry.before}{_toml(after[entry.name])}{entry.comment}\n"]
        kept.append(entry)
    for name, value in after.items():
        if name not in present:
            _add(kept, name, value)
    result = "".join(line for entry in kept for line in entry.lines)
    return result if _means(result, after) else None


def _entries(text: str) -> list[_Entry] | None:
    """The file in pieces; None where a value does not end."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    entries: list[_Entry] = []
    group, at = "", 0
    while at < len(lines):
        line = lines[at]
        if header := _HEADER.match(line.rstrip("\r\n")):
            group = header[1]
        key = None if header or line.lstrip().startswith("#") else _KEY.match(line)
        if key is None:
            entries.append(_Entry([line], group))
            at += 1
            continue
        end = _end_of_value(lines, at, key[3])
        if end is None:
            return None
        name = key[2].replace(" ", "")
        comment = _comment(key[3]) if end == at + 1 else ""
        full = f"{group}.{name}" if group else name
        entries.append(_Entry(lines[at:end], group, full, key[1], comment))
        at = end
    return entries


def _end_of_value(lines: list[str], at: int, first: str) -> int | None:
    """The line after the value that begins on line ``at`` with ``first``."""
    value = first
    for end in range(at + 1, len(lines) + 1):
        if _parsed(value) is not None:
            return end
        value += lines[end] if end < len(lines) else ""
    return None


def _comment(value: str) -> str:
    """The remark behind a value on the same line, with the space before it."""
    value = value.rstrip("\r\n")
    for at, letter in enumerate(value):
        if letter == "#" and _parsed(value[:at]) is not None:
            return " " * (at - len(value[:at].rstrip())) + value[at:]
    return ""


def _says(entry: _Entry, value: Any) -> bool:
    """Whether the entry's own lines set this value already."""
    parsed = _parsed("".join(entry.lines)[len(entry.before) :])
    return parsed is not None and parsed["x"] == value and type(parsed["x"]) is type(value)


def _parsed(value: str) -> dict[str, Any] | None:
    try:
        found = tomllib.loads(f"x = {value}")
    except tomllib.TOMLDecodeError:
        return None
    # Further lines that were swallowed would be keys of their own.
    return found if set(found) == {"x"} else None


def _add(entries: list[_Entry], name: str, value: Any) -> None:
    """Put a new setting behind the others of its group."""
    group, _, leaf = name.rpartition(".")
    line = f"{leaf} = {_toml(value)}\n"
    last = max(
        (i for i, entry in enumerate(entries) if entry.group == group and _speaks(entry)),
        default=None,
    )
    if last is None and not group:
        first_header = next((i for i, e in enumerate(entries) if e.group), len(entries))
        entries.insert(first_header, _Entry([line], ""))
    elif last is None:
        gap = "\n" if entries else ""
        entries.append(_Entry([f"{gap}[{group}]\n", line], group))
    else:
        entries.insert(last + 1, _Entry([line], group))


def _speaks(entry: _Entry) -> bool:
    """Whether it is a header or a setting, and no remark or blank line."""
    text = "".join(entry.lines).strip()
    return bool(text) and not text.startswith("#")


def _means(text: str, after: dict[str, Any]) -> bool:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= {f"{name}.{inner}": one for inner, one in value.items()}
        else:
            found[name] = value
    return found == after


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for one control character that JSON leaves alone.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
