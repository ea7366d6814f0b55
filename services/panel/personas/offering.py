"""What the form of a persona offers: only what this box can do today."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.catalogue import Catalogue
from appliance.personas import ENDPOINTING, Persona
from appliance.settings import Settings
from services.panel.personas.languages import LANGUAGES


@dataclass(frozen=True)
class Choice:
    """One value of a field.

    Attributes:
        value: as the persona's file has it.
        label: what people read.
        help: what it means; empty if the label says it all.
        refused: why it cannot be chosen now; empty if it can.
    """

    value: str
    label: str
    help: str = ""
    refused: str = ""


@dataclass(frozen=True)
class Offer:
    """The choices of every field that has them; no models or voices: another server has them."""

    languages: list[Choice]
    voices: list[Choice]
    models: list[Choice]
    endpointing: list[Choice]
    barge_in: list[Choice]
    one_language: str
    """Why there is only one language; empty if there are many."""


_PATIENCE = {
    "patient": "Patient",
    "balanced": "Balanced",
    "quick": "Quick",
}
_BARGE_IN = [
    Choice("stop", "Stop at once", "It falls silent as soon as the caller speaks."),
    Choice(
        "finish", "Finish the sentence",
        "It speaks its sentence to the end, then listens; what was said meanwhile is answered.",
    ),
    Choice(
        "ignore", "Ignore noises and \u201cmhm\u201d",
        "It goes on until it recognises words that want an answer, such as \u201cwait\u201d or "
        "\u201cno\u201d, which takes a moment longer.",
    ),
    Choice(
        "resume", "Stop, and go on after a false alarm",
        "It falls silent at once; if it was only a noise or an \u201cmhm\u201d, it goes on where "
        "it stopped.",
    ),
]  # fmt: skip


def offer(settings: Settings, persona: Persona) -> Offer:
    """The choices for this persona. Reads files."""
    catalogue = Catalogue(settings)
    loaded = catalogue.selected("llm")
    installed = catalogue.all_installed()
    voices, models = [], []
    if not settings.tts.url:
        voices = [
            Choice(one.id, f"{one.entry.title} ({', '.join(one.entry.languages)})")
            for one in installed
            if one.task == "tts"
        ]
        voices = _with(voices, persona.voice, "not installed")
    if not settings.llm.url:
        models = [
            Choice(
                one.id, one.entry.title,
                refused="" if one.id == loaded else "not loaded: one model at a time, see Models",
            )
            for one in installed
            if one.task == "llm"
        ]  # fmt: skip
        models = _with(models, persona.model, "not installed")
    languages, why = _languages(settings, catalogue)
    return Offer(
        languages=_with(languages, persona.language, "not understood by the ear"),
        voices=voices,
        models=models,
        endpointing=[
            Choice(
                name,
                _PATIENCE[name],
                f"A pause of {delays.min_s:g} to {delays.max_s:g} s ends the turn, "
                "a longer one if the words break off.",
            )
            for name, delays in ENDPOINTING.items()
        ],
        barge_in=_BARGE_IN,
        one_language=why,
    )


def _languages(settings: Settings, catalogue: Catalogue) -> tuple[list[Choice], str]:
    every = [Choice(code, f"{name} ({code})") for code, name in LANGUAGES.items()]
    if settings.stt.url:
        return every, ""
    ear = next(
        (one for one in catalogue.all_installed() if one.id == catalogue.selected("stt")), None
    )
    if ear is None or "multilingual" in ear.entry.languages:
        return every, ""
    known = [choice for choice in every if choice.value in ear.entry.languages]
    return known, f"{ear.entry.title} understands no other. Choose another ear on the page Models."


def _with(choices: list[Choice], value: str | None, refused: str) -> list[Choice]:
    """The choices, and the persona's own value even where it is no longer one of them."""
    if value is None or any(choice.value == value for choice in choices):
        return choices
    return [*choices, Choice(value, value, refused=refused)]
