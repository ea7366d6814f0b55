"""The owner's settings: shown, tried, saved, taken out and brought in. Everything here blocks."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from appliance.errors import ApplianceError, BadInput, BadSettings
from appliance.setting_effects import restarts
from appliance.settings import Settings, environment_name, setting_names
from appliance.settings_file import (
    SettingsFile,
    Values,
    defaults,
    parse,
    problems,
    read_file,
    save,
    typed,
    why_fixed,
    with_names,
)
from appliance.settings_text import keeps_comments, toml_text
from services.panel.settings_page.fields import (
    REMOVED,
    GroupView,
    group_views,
    is_secret,
    programs_said,
    safe,
    shown,
)
from services.panel.settings_page.judging import judge, notes
from services.panel.settings_page.waiting import Waiting, WaitingList

# Of no use without the secret that belongs to it, and that one stays here.
_WITH_A_SECRET = ("livekit.api_key",)


class FileBroken(ApplianceError):
    """settings.toml cannot be read now, so nothing can be changed in it."""

    http_status = 409


class Trouble(BaseModel):
    """Something wrong, with what to do about it."""

    model_config = ConfigDict(extra="forbid")
    name: str
    code: str
    message: str
    hint: str


class Change(BaseModel):
    """One setting before and after, in words."""

    model_config = ConfigDict(extra="forbid")
    name: str
    before: str
    after: str
    restarts: list[str]
    restarts_said: str


class Preview(BaseModel):
    """What saving would do. With problems, it would do nothing."""

    model_config = ConfigDict(extra="forbid")
    version: str
    changes: list[Change]
    problems: list[Trouble]
    restarts: list[str]
    keeps_comments: bool
    notes: list[str]


class AllSettings(BaseModel):
    """Everything the form shows."""

    model_config = ConfigDict(extra="forbid")
    version: str
    problem: Trouble | None
    groups: list[GroupView]
    waiting: Waiting


class Saved(BaseModel):
    """What was saved, and what has to start again for it."""

    model_config = ConfigDict(extra="forbid")
    version: str
    changes: list[Change]
    restarts: list[str]


class Keeper:
    """The settings of one box."""

    def __init__(self, running: Settings, waiting: WaitingList) -> None:
        self._running = running
        self._waiting = waiting

    def look(self) -> AllSettings:
        """The form. A file that cannot be read is told as the problem, and nothing can be changed."""
        path = self._running.settings_file
        try:
            file = read_file(self._running)
        except BadSettings as error:
            return self._all(SettingsFile("", {}, ""), {}, _trouble("", error))
        found = problems(file.values, path)
        strange = next((name for name in found if name not in setting_names()), None)
        trouble = _trouble(strange, found[strange]) if strange is not None else None
        return self._all(file, {name: one.message for name, one in found.items()}, trouble)

    def preview(self, changes: Values) -> Preview:
        """What these changes would do; None as a value goes back to the default.

        Raises:
            FileBroken: the file as it is cannot be read.
        """
        file = self._read()
        changes = with_names(file.values, changes)
        refusals = {name: _refusal(name, file.values, changes) for name in changes}
        wrong = {name: error for name, error in refusals.items() if error is not None}
        return self._preview(file, {n: v for n, v in changes.items() if n not in wrong}, wrong)

    def preview_import(self, text: str) -> Preview:
        """What bringing in this settings.toml would do.

        Raises:
            BadInput: it is not TOML; says which line.
            FileBroken: the file as it is cannot be read.
        """
        file = self._read()
        changes, wrong = self._imported(file, text)
        return self._preview(file, changes, wrong)

    def save(self, changes: Values, version: str) -> Saved:
        """Save these changes, all or none.

        Raises:
            BadInput: one of them is impossible.
            ChangedMeanwhile: the file is not the one of ``version`` any more.
            FileBroken: the file as it is cannot be read.
        """
        changes = with_names(self._read().values, changes)
        preview = self.preview(changes)
        if preview.problems:
            first = preview.problems[0]
            raise BadInput(first.code, first.message, first.hint)
        names = [change.name for change in preview.changes]
        file = save(self._running, {name: changes[name] for name in names}, version)
        if moved := [change.name for change in preview.changes if change.restarts]:
            self._waiting.add(moved)
        return Saved(version=file.version, changes=preview.changes, restarts=preview.restarts)

    def save_import(self, text: str, version: str) -> Saved:
        """Bring in a settings.toml, all of it or nothing.

        Raises:
            As ``save``.
        """
        changes, wrong = self._imported(self._read(), text)
        for error in wrong.values():
            raise BadInput(error.code, error.message, error.hint)
        return self.save(changes, version)

    def export(self) -> str:
        """The settings as a settings.toml without secrets and without this machine's folders.

        Raises:
            FileBroken: the file as it is cannot be read.
        """
        values = self._read().values
        left_out = [name for name in values if not _leaves(name, values)]
        head = "# Earshot's settings. Keys, passwords and this machine's folders are not in it.\n"
        head += "".join(f"# Left out: {name}\n" for name in left_out)
        body = toml_text({n: v for n, v in values.items() if n not in left_out})
        return f"{head}\n{body}" if body else head

    def waiting(self) -> Waiting:
        """What was saved and is not in force yet."""
        return self._waiting.look()

    def _read(self) -> SettingsFile:
        try:
            return read_file(self._running)
        except BadSettings as error:
            raise FileBroken(error.code, error.message, error.hint) from error

    def _all(
        self, file: SettingsFile, wrong: dict[str, str], trouble: Trouble | None
    ) -> AllSettings:
        groups = group_views(self._running, file.values, wrong, editable=trouble is None)
        return AllSettings(
            version=file.version, problem=trouble, groups=groups, waiting=self._waiting.look()
        )

    def _preview(
        self, file: SettingsFile, changes: Values, wrong: dict[str, ApplianceError]
    ) -> Preview:
        wished = {name: value for name, value in changes.items() if value is not None}
        after = {n: v for n, v in file.values.items() if n not in changes} | wished
        if not problems(after):
            after |= {name: value for name, value in typed(after).items() if name in wished}
        names = [name for name in changes if after.get(name) != file.values.get(name)]
        wrong = {**wrong, **judge(self._running, after, names)}
        return Preview(
            version=file.version,
            changes=(made := [_change(n, file.values, after) for n in names if n in defaults()]),
            problems=[_trouble(name, error) for name, error in wrong.items()],
            restarts=[] if wrong else list(restarts([one.name for one in made if one.restarts])),
            keeps_comments=bool(wrong) or keeps_comments(file.text, after),
            notes=[] if wrong else notes(after, names),
        )

    def _imported(self, file: SettingsFile, text: str) -> tuple[Values, dict[str, ApplianceError]]:
        """The changes that make the file say what ``text`` says, and what stands against them."""
        try:
            # Some editors put a mark before a text's first letter.
            wished = parse(text.removeprefix("\ufeff"))
        except BadSettings as error:
            raise BadInput(error.code, error.message, error.hint) from error
        changes: Values = {}
        wrong: dict[str, ApplianceError] = {}
        for name, value in wished.items():
            if value == file.values.get(name):
                continue
            refusal = _refusal(name, file.values, wished)
            if refusal is not None:
                wrong[name] = refusal
            else:
                changes[name] = value
        for name in file.values:
            if (
                name not in wished
                and _leaves(name, file.values)
                and _refusal(name, file.values) is None
            ):
                changes[name] = None
        return with_names(file.values, changes), wrong


def _leaves(name: str, values: Values) -> bool:
    """Whether a setting is part of what is taken out and brought in."""
    if why_fixed(name, values) or is_secret(name) or name in _WITH_A_SECRET:
        return False
    return REMOVED not in str(safe(name, values[name]))


def _refusal(name: str, *values: Values) -> ApplianceError | None:
    """Why a setting is not changed here, if it is not; ``values`` as for ``why_fixed``."""
    if why := why_fixed(name, *values):
        return BadInput("setting_fixed", f"The setting {name!r} is not changed here.", why)
    if variable := environment_name(name):
        return BadInput(
            "setting_from_environment",
            f"The setting {name!r} comes from the environment variable {variable}.",
            "Remove that variable to set it here.",
        )
    if name in Settings.model_fields and name not in setting_names():
        return BadInput(
            "setting_unknown", f"{name!r} is a group of settings.", "Name one of its settings."
        )
    return None


def _change(name: str, before: Values, after: Values) -> Change:
    known = defaults()
    old, new = (
        shown(name, values[name])
        if name in values
        else ("not set" if is_secret(name) else f"{shown(name, known[name])} (default)")
        for values in (before, after)
    )
    if is_secret(name) and name in before and name in after:
        new = "another one"
    # What goes back to a default that it had anyway is the same for every program.
    same = before.get(name, known[name]) == after.get(name, known[name])
    needed = () if same else restarts([name])
    return Change(
        name=name, before=old, after=new, restarts=list(needed),
        restarts_said=programs_said(needed) if needed else "nothing",
    )  # fmt: skip


def _trouble(name: str, error: ApplianceError) -> Trouble:
    return Trouble(name=name, code=error.code, message=error.message, hint=error.hint)
