"""What a submitted form changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.settings_file import Values
from services.panel.settings_page.fields import GroupView, SettingView

FORGET = "forget:"
"""Before the name of a secret: a ticked box that takes the stored one away."""


def changes_of(form: Mapping[str, Any], groups: list[GroupView]) -> Values:
    """The settings that the form has different from what it was shown; None: back to the default.

    Args:
        form: names and texts as the browser sends them.
        groups: what the form was made from.
    """
    found: Values = {}
    for view in (view for group in groups for view in group.settings):
        if not view.editable:
            continue
        if view.kind == "secret":
            typed = str(form.get(view.name, ""))
            if typed:
                found[view.name] = typed
            elif form.get(FORGET + view.name):
                found[view.name] = None
            continue
        if view.kind != "switch" and view.name not in form:
            continue
        value = _value(view, str(form.get(view.name, "")))
        if _same(value, view.value):
            continue
        # A text that is the default's is no wish of the owner's: it follows the default from now on.
        found[view.name] = None if _same(value, view.default) else value
    return found


def _value(view: SettingView, text: str) -> Any:
    if view.kind == "switch":
        return bool(text)
    if view.kind == "list":
        return [line.strip() for line in text.splitlines() if line.strip()]
    text = text.strip()
    if view.kind == "number":
        # Where people write 0,25.
        return text.replace(",", ".")
    return text


def _same(value: Any, shown: Any) -> bool:
    if isinstance(value, str) and not isinstance(shown, str):
        try:
            return float(value) == shown if shown is not None else not value
        except ValueError:
            return False
    return bool(value == shown)
