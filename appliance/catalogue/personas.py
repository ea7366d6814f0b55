"""Whether the box has what a persona asks for: the loaded language model, an installed voice."""

from __future__ import annotations

from appliance.catalogue.installed import Catalogue
from appliance.errors import NotFound, Refused
from appliance.personas import Persona
from appliance.settings import Settings


def check_persona(settings: Settings, persona: Persona) -> None:
    """Refuse a persona whose model or voice this box cannot serve.

    What a server of the owner's own (``llm.url``, ``tts.url``) has is that server's to say.

    Raises:
        Refused: it asks for another language model than the one that is loaded.
        NotFound: its voice is not installed, or is no voice.
    """
    if persona.model and not settings.llm.url:
        loaded = Catalogue(settings).selected("llm")
        if persona.model != loaded:
            raise Refused(
                "persona_model_not_loaded",
                f"The persona {persona.name!r} asks for the language model {persona.model!r}, "
                f"and this box has {loaded!r} loaded, one at a time.",
                "Take `model` out of the persona, or choose that model on the page Models.",
            )
    if persona.voice and not settings.tts.url:
        try:
            Catalogue(settings).installed("tts", persona.voice)
        except NotFound as error:
            raise NotFound(
                "persona_voice_missing",
                f"The persona {persona.name!r} asks for the voice {persona.voice!r}, "
                "and no such voice is installed.",
                error.hint,
            ) from error
