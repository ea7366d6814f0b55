"""What is kept of a call, and how long, in the words that are shown before the microphone opens."""

from __future__ import annotations

from appliance.personas import Persona
from appliance.settings import Settings


def retention_sentence(persona: Persona | None, settings: Settings) -> str:
    """One sentence for the caller; without a persona it promises no more than any call keeps."""
    if persona is not None and not persona.keep_transcript:
        return "Neither the words nor the sound of this call are kept, only when it was held."
    days = settings.access.keep_calls_days
    copies = ""
    if settings.backup.recipient:
        keep = settings.backup.keep
        newest = "newest sealed backup" if keep == 1 else f"newest {keep} sealed backups"
        copies = f", longer in the {newest}"
    if days == 0:
        return (
            "The words of this call are kept as text until the owner of this box deletes them"
            f"{copies}; "
            "the sound is never kept."
        )
    return (
        f"The words of this call are kept as text for {days} day{'' if days == 1 else 's'}{copies}; "
        "the sound is never kept."
    )
