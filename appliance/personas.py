"""Personas: who answers the call, read from YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from appliance.errors import BadInput, NotFound

PersonaName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
LONGEST_FILE_BYTES = 256 << 10


def _plain(text: str) -> str:
    """Text as it was typed, with one kind of line end."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if any(ord(sign) < 0x20 and sign not in "\n\t" for sign in text) or not _is_unicode(text):
        raise ValueError("it has control characters in it")
    return text


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


Text = Annotated[str, AfterValidator(_plain)]
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")]


class EndpointingDelays(NamedTuple):
    """How long a pause may last before it ends the turn, in seconds."""

    min_s: float
    max_s: float


ENDPOINTING = {
    "patient": EndpointingDelays(0.5, 2.5),
    "balanced": EndpointingDelays(0.3, 1.6),
    "quick": EndpointingDelays(0.3, 1.0),
}


class Example(BaseModel):
    """One exchange shown to the model before the talk begins."""

    model_config = ConfigDict(extra="forbid")
    user: Text = Field(min_length=1, max_length=2000)
    assistant: Text = Field(min_length=1, max_length=2000)


class Sampling(BaseModel):
    """How the language model picks its words."""

    model_config = ConfigDict(extra="forbid")
    temperature: float = Field(0.0, ge=0, le=2, description="0 always takes the likeliest word.")
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(64, ge=1, le=2048, description="Longest answer, in tokens.")
    seed: int | None = Field(
        None, ge=0, le=2**32 - 1, description="The same seed, the same words; unset: by chance."
    )


class Persona(BaseModel):
    """Who answers: words, voice, patience."""

    model_config = ConfigDict(extra="forbid")
    name: PersonaName
    title: Text = Field("", max_length=120, description="Shown to people; the name if empty.")
    instructions: Text = Field(min_length=1, max_length=8000)
    examples: list[Example] = Field(default_factory=list, max_length=20)
    greeting: Text = Field(
        "", max_length=500, description="Spoken when the call begins; empty: silent."
    )
    voice: ModelName | None = Field(
        None, description="Id of an installed voice; the selected one if unset."
    )
    language: str = Field(
        "en", pattern=r"^[a-z]{2,3}$", description="ISO 639 code pinned for the ear."
    )
    model: ModelName | None = Field(
        None, description="Id of the language model; the selected one if unset."
    )
    sampling: Sampling = Field(default_factory=Sampling)
    endpointing: Literal["patient", "balanced", "quick"] = "balanced"
    barge_in: Literal["stop", "finish", "ignore", "resume"] = Field(
        "stop",
        description="stop: silence at once; finish: after the sentence; ignore: not at noises and "
        "backchannels; resume: at once, and goes on after a false alarm.",
    )
    keep_transcript: bool = Field(True, description="Whether the words of the call are stored.")

    @property
    def delays(self) -> EndpointingDelays:
        """Pause limits of this persona's endpointing, in seconds."""
        return ENDPOINTING[self.endpointing]


class _Loader(yaml.SafeLoader):
    """Plain values only: a file of aliases can be small and mean gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not taken")
        return super().compose_node(parent, index)


def parse_persona(text: str, what: str = "The persona") -> Persona:
    """Read one persona.

    Args:
        text: YAML.
        what: how a message calls it.

    Raises:
        BadInput: it cannot be read or a value in it is impossible.
    """
    try:
        return Persona.model_validate(yaml.load(text, _Loader))  # noqa: S506  it is a SafeLoader
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(
            "persona_invalid", f"{what} is wrong at {where}: {first['msg']}.",
            "Compare it with config/personas/default.yaml.",
        ) from error  # fmt: skip
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        # ValueError: YAML's dates and numbers can be written so that there are no such.
        raise BadInput(
            "persona_unreadable", f"{what} cannot be read.", "It must be YAML in UTF-8."
        ) from error


def load_persona(path: Path) -> Persona:
    """Read one persona's file.

    Raises:
        BadInput: the file cannot be read or a value in it is impossible.
    """
    what = f"The persona file {path}"
    try:
        with path.open("rb") as file:
            raw = file.read(LONGEST_FILE_BYTES + 1)
        if len(raw) > LONGEST_FILE_BYTES:
            raise BadInput(
                "persona_too_large", f"{what} is larger than {LONGEST_FILE_BYTES >> 10} KiB.",
                "A persona is a few pages of text.",
            )  # fmt: skip
        return parse_persona(raw.decode(), what)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            "persona_unreadable", f"{what} cannot be read.", "It must be YAML in UTF-8."
        ) from error


def find_persona(name: str, folders: list[Path]) -> Persona:
    """The persona of this name; earlier folders win.

    Raises:
        NotFound: no folder has it.
        BadInput: its file is wrong.
    """
    if Path(name).name == name:
        for folder in folders:
            path = folder / f"{name}.yaml"
            if path.is_file():
                persona = load_persona(path)
                if persona.name != name:
                    raise BadInput(
                        "persona_invalid", f"The persona in {path} is called {persona.name!r}.",
                        f"Its name must be the file's: write `name: {name}`.",
                    )  # fmt: skip
                return persona
    raise NotFound(
        "persona_unknown", f"There is no persona called {name!r}.",
        "Personas are YAML files in config/personas and in the data folder's personas.",
    )  # fmt: skip
