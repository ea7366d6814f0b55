"""Making, changing and removing personas, with a look at who needs them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import Request

from appliance.catalogue.personas import check_persona
from appliance.errors import ApplianceError, Refused
from appliance.persona_files import Clash, PersonaFile, PersonaFiles, parse_import
from appliance.personas import Persona
from appliance.settings import Settings
from appliance.store import Store

_SHOWN_LINKS = 3


@dataclass(frozen=True)
class Kept:
    """One persona and what is known about it.

    Attributes:
        file: as it lies there.
        is_default: whether it answers calls that name none.
        problem: why it cannot take a call now; empty if it can.
        uses: who needs it, in words.
    """

    file: PersonaFile
    is_default: bool
    problem: str
    uses: tuple[str, ...]


# Inside the class `list` is the method.
KeptList = list[Kept]


class Personas:
    """Every method reads files or the store: on an event loop, in a thread."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self.files = PersonaFiles(settings)

    def list(self) -> KeptList:
        """All of them, by title."""
        uses = self._uses()
        return [self._kept(file, uses) for file in self.files.list()]

    def get(self, name: str) -> Kept:
        """One of them.

        Raises:
            NotFound: there is none of this name.
        """
        return self._kept(self.files.get(name), self._uses())

    def create(self, persona: Persona, *, cover: bool) -> Kept:
        """Keep a new one; with ``cover`` also one that goes before a built-in one.

        Raises:
            Clash: its name is taken.
            ApplianceError: it asks for what this box does not have.
        """
        check_persona(self._settings, persona)
        return self.get(self.files.create(persona, cover=cover).name)

    def change(self, name: str, persona: Persona, version: str) -> Kept:
        """Replace one; under another name it is renamed.

        Raises:
            NotFound: there is none of this name.
            Refused: it is built in, or it is renamed and somebody needs it under the old name.
            Clash: it has been changed since ``version``, or the new name is taken.
            ApplianceError: it asks for what this box does not have.
        """
        check_persona(self._settings, persona)
        if persona.name != name:
            self._require_unused(self.get(name), "renamed")
        return self.get(self.files.change(name, persona, version).name)

    def clone(self, name: str, new_name: str) -> Kept:
        """Keep a copy; a built-in one may be copied under its own name and then goes before it.

        Raises:
            NotFound: there is none of this name.
            Refused: it cannot be used as it is.
            Clash: the new name is taken.
        """
        before = self.files.get(name)
        if before.persona is None:
            raise Refused("persona_broken", f"The persona {name!r} cannot be used.", before.problem)
        copy = before.persona.model_copy(update={"name": new_name})
        if new_name == name:
            return self.get(self.files.create(copy, cover=True).name)
        if copy.title:
            copy = copy.model_copy(update={"title": f"{copy.title} (copy)"[:120]})
        return self.get(self.files.create(copy).name)

    def bring(self, text: str, name: str | None, *, replace: bool) -> Kept:
        """Import a file, under another name if one is given.

        Raises:
            BadInput: it is no persona.
            Clash: its name is taken, and ``replace`` was not asked for.
            ApplianceError: it asks for what this box does not have.
        """
        persona = parse_import(text)
        if name:
            persona = persona.model_copy(update={"name": name})
        check_persona(self._settings, persona)
        if replace:
            return self.get(self.files.replace(persona).name)
        try:
            return self.get(self.files.create(persona).name)
        except Clash as error:
            raise Clash(
                error.code, error.message, "Choose another name, or replace the one that is there."
            ) from error

    def delete(self, name: str, version: str) -> None:
        """Remove one of the owner's.

        Raises:
            NotFound: there is none of this name.
            Refused: it is built in, or somebody needs it.
            Clash: it has been changed since ``version``.
        """
        self._require_unused(self.get(name), "deleted")
        self.files.delete(name, version)

    def _require_unused(self, kept: Kept, what: str) -> None:
        # Under one that covers a built-in one, that one is found by the same name.
        if kept.uses and kept.file.own and not kept.file.covers:
            raise Refused(
                "persona_in_use",
                f"The persona {kept.file.name!r} cannot be {what}: it is used by "
                f"{', '.join(kept.uses)}.",
                "Give them another persona first.",
            )

    def _kept(self, file: PersonaFile, uses: dict[str, tuple[str, ...]]) -> Kept:
        problem = file.problem
        if file.persona is not None:
            try:
                check_persona(self._settings, file.persona)
            except ApplianceError as error:
                problem = str(error)
        is_default = file.name == self._settings.persona
        return Kept(file, is_default, problem, uses.get(file.name, ()))

    def _uses(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {self._settings.persona: ["the setting persona"]}
        now = datetime.now(UTC)
        calls: dict[str, int] = {}
        for session in self._store.sessions.open():
            calls[session.persona] = calls.get(session.persona, 0) + 1
        for name, count in calls.items():
            said = "a call that is open" if count == 1 else f"{count} calls that are open"
            found.setdefault(name, []).append(said)
        links: dict[str, list[str]] = {}
        for link in self._store.links.list():
            if link.state(now) == "open":
                links.setdefault(link.persona, []).append(link.name or link.id)
        for name, named in links.items():
            shown = ", ".join(f"“{one}”" for one in named[:_SHOWN_LINKS])
            more = f" and {len(named) - _SHOWN_LINKS} more" if len(named) > _SHOWN_LINKS else ""
            plural = "s" if len(named) > 1 else ""
            found.setdefault(name, []).append(f"the join link{plural} {shown}{more}")
        return {name: tuple(said) for name, said in found.items()}


def personas_of(request: Request) -> Personas:
    """The personas of this app."""
    state = request.app.state
    return Personas(state.settings, state.store)
