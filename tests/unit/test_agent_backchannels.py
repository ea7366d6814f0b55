"""Which words over the agent's speech want an answer."""

from __future__ import annotations

import pytest

from services.agent.backchannels import wants_the_floor

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "Mm-hmm.", "Mmm.", "Mhm", "Uh-huh.", "Uh-hum.", "Uhum", "Uh huh, uh huh.", "Hmmm...", "Uhhh", "Um, um.", "Er...",
        "Ah.", "Oh!", "Ha ha ha ha ha!", "Hahaha", "Hehehe.", "Bwahaha", "Hah" * 40, "(laughing)", "[coughs]", "*sigh*", "♪♪",
        "Yeah.", "Yes, yes.", "Okay.", "OK", "Right.", "I see.", "Uh, okay, I see.", "All right.", "Got it.",
        "Thank you.", "Mm-hmm, yeah.", "Of course.", "That\u2019s right.",
    ],
)  # fmt: skip
def test_a_backchannel_does_not(text: str) -> None:
    assert not wants_the_floor(text, "en")


@pytest.mark.parametrize(
    "text",
    [
        "Stop.", "Wait.", "No.", "No!", "Nooo", "Hold on.", "Wait, stop.", "Uh, wait.", "Yeah, but", "Okay, stop.",
        "Yes but no", "What?", "Why?", "Sorry?", "Help.", "Be quiet.", "Shh", "I", "Hey.", "Mm-hmm, and then?",
        "yes yes yes yes yes", "Ten of clubs.", "Hello", "And",
    ],
)  # fmt: skip
def test_words_do(text: str) -> None:
    assert wants_the_floor(text, "en")


@pytest.mark.parametrize(
    ("language", "quiet", "loud"),
    [
        ("de", "Ja, genau.", "Halt!"),
        ("de", "Ach so, verstehe.", "Nein."),
        ("fr", "D'accord, je vois.", "Arrête."),
        ("es", "Sí, claro.", "Espera."),
        ("it", "Va bene, ho capito.", "Aspetta."),
        ("nl", "Ja, precies.", "Wacht."),
        ("xx", "Mhm, okay.", "Ja."),
        ("en-GB", "Yeah.", "Genau."),
    ],
)
def test_each_language_has_its_own(language: str, quiet: str, loud: str) -> None:
    assert not wants_the_floor(quiet, language)
    assert wants_the_floor(loud, language)
