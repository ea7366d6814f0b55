"""The personas as files: the owner's in the data folder over the built-in ones, which stay as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from appliance.errors import ApplianceError, BadInput, NotFound, Refused
from appliance.files import exclusive, sync_folder, write_whole
from appliance.personas import LONGEST_FILE_BYTES, Persona, load_persona, parse_persona
from appliance.settings import Settings

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_SUFFIX = ".yaml"
MOST_FILES = 200


class Clash(ApplianceError):
    """Somebody else was there first: a name that is taken, a file that has been changed meanwhile."""

    http_status = 409


@dataclass(frozen=True)
class PersonaFile:
    """One persona as it lies there.

    Attributes:
        name: what it is asked by.
        path: where it lies.
        own: whether it is the owner's; a built-in one cannot be changed.
        covers: whether it is the owner's and a built-in one of the same name comes back without it.
        version: changes with every change of the file.
        persona: what it says; None if it cannot be used.
        problem: why it cannot be used; empty if it can.
    """

    name: str
    path: Path
    own: bool
    covers: bool
    version: str
    persona: Persona | None
    problem: str = ""

    @property
    def title(self) -> str:
        """How people know it."""
        return self.persona.title or self.name if self.persona else self.name


# Inside the class `list` is the method.
PersonaFileList = list[PersonaFile]


class PersonaFiles:
    """Every persona of the box. Its methods read and write files: on an event loop, in a thread."""

    def __init__(self, settings: Settings) -> None:
        self._own, self._builtin = settings.persona_dirs

    def list(self) -> PersonaFileList:
        """All of them by title, those that cannot be used with the reason."""
        names = {*_stems(self._builtin), *_stems(self._own)}
        found = [self._file(name) for name in sorted(names)[:MOST_FILES]]
        return sorted((one for one in found if one), key=lambda one: (one.title.lower(), one.name))

    def get(self, name: str) -> PersonaFile:
        """One of them, also one that cannot be used.

        Raises:
            NotFound: there is none of this name.
        """
        found = self._file(name) if _NAME.fullmatch(name) else None
        if found is None:
            raise _unknown(name)
        return found

    def text(self, name: str) -> str:
        """The file as it is written.

        Raises:
            NotFound: there is none of this name.
            BadInput: it is no text.
        """
        path = self.get(name).path
        try:
            return path.read_bytes()[:LONGEST_FILE_BYTES].decode()
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(
                "persona_unreadable", f"The persona {name!r} cannot be read.",
                "It must be YAML in UTF-8.",
            ) from error  # fmt: skip

    def create(self, persona: Persona, *, cover: bool = False) -> PersonaFile:
        """Keep a new persona; with ``cover`` also one that goes before a built-in one.

        Raises:
            Clash: there is one of this name.
        """
        with self._alone():
            before = self._file(persona.name)
            if before is not None and (before.own or not cover):
                raise _taken(persona.name)
            return self._write(persona)

    def change(self, name: str, persona: Persona, version: str) -> PersonaFile:
        """Replace the owner's persona; under another name it is renamed.

        Raises:
            NotFound: there is none of this name.
            Refused: it is a built-in one.
            Clash: it has been changed since ``version``, or the new name is taken.
        """
        with self._alone():
            before = self._own_one(name, version)
            if persona.name == name:
                return self._write(persona)
            if self._file(persona.name) is not None:
                raise _taken(persona.name)
            after = self._write(persona)
            before.path.unlink()
            sync_folder(self._own)
            return after

    def replace(self, persona: Persona) -> PersonaFile:
        """Keep this persona, whatever the owner had under its name before."""
        with self._alone():
            return self._write(persona)

    def delete(self, name: str, version: str) -> None:
        """Remove the owner's persona; a built-in one of the same name comes back.

        Raises:
            NotFound: there is none of this name.
            Refused: it is a built-in one.
            Clash: it has been changed since ``version``.
        """
        with self._alone():
            self._own_one(name, version).path.unlink()
            sync_folder(self._own)

    def _own_one(self, name: str, version: str) -> PersonaFile:
        found = self.get(name)
        if not found.own:
            raise Refused(
                "persona_built_in", f"The persona {name!r} came with Earshot and stays as it is.",
                "Clone it and change the clone.",
            )  # fmt: skip
        if found.version != version:
            raise Clash(
                "persona_changed", f"The persona {name!r} has been changed meanwhile.",
                "Load it again and make your changes to what it is now.",
            )  # fmt: skip
        return found

    def _file(self, name: str) -> PersonaFile | None:
        builtin = _plain_file(self._builtin / f"{name}{_SUFFIX}")
        own = _plain_file(self._own / f"{name}{_SUFFIX}")
        path = own or builtin
        if path is None:
            return None
        persona, problem = _read(path, name)
        return PersonaFile(
            name, path, own is not None, bool(own and builtin), _version(path), persona, problem
        )

    def _write(self, persona: Persona) -> PersonaFile:
        path = self._own / f"{persona.name}{_SUFFIX}"
        if not path.exists() and len(_stems(self._own)) >= MOST_FILES:
            raise Refused(
                "too_many_personas",
                f"There are {MOST_FILES} personas already.",
                "Delete some first.",
            )
        try:
            write_whole(path, as_yaml(persona))
        except OSError as error:
            raise ApplianceError(
                "persona_not_written", f"The persona {persona.name!r} could not be written.",
                "Is the disk full, or the data folder somebody else's? The page Doctor looks.",
            ) from error  # fmt: skip
        return self.get(persona.name)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._own.mkdir(mode=0o700, parents=True, exist_ok=True)
        with exclusive(self._own / ".lock"):
            yield


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, as people write them."""


def _shown(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _shown)


def as_yaml(persona: Persona) -> str:
    """A persona as its file says it."""
    values: dict[str, Any] = persona.model_dump(mode="json", exclude_none=True)
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def parse_import(text: str) -> Persona:
    """A persona from a file that somebody brought.

    Raises:
        BadInput: it is too large, cannot be read, or a value in it is impossible.
    """
    if len(text.encode(errors="replace")) > LONGEST_FILE_BYTES:
        raise BadInput(
            "persona_too_large", f"The file is larger than {LONGEST_FILE_BYTES >> 10} KiB.",
            "A persona is a few pages of text.",
        )  # fmt: skip
    return parse_persona(text, "The file")


def _read(path: Path, name: str) -> tuple[Persona | None, str]:
    if not _NAME.fullmatch(name):
        return None, "Its file name may have small letters, digits and hyphens only."
    try:
        persona = load_persona(path)
    except BadInput as error:
        return None, str(error)
    if persona.name != name:
        return None, f"It says `name: {persona.name}`, and its file is called {path.name}."
    return persona, ""


def _stems(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob(f"*{_SUFFIX}") if not path.name.startswith(".")}


def _plain_file(path: Path) -> Path | None:
    return path if path.is_file() and not path.is_symlink() else None


def _version(path: Path) -> str:
    with path.open("rb") as file:
        return sha256(file.read(LONGEST_FILE_BYTES + 1)).hexdigest()[:16]


def _taken(name: str) -> Clash:
    return Clash(
        "persona_exists", f"There is a persona called {name!r} already.", "Choose another name."
    )


def _unknown(name: str) -> NotFound:
    return NotFound(
        "persona_unknown", f"There is no persona called {name[:64]!r}.",
        "The page Personas lists them all.",
    )  # fmt: skip
