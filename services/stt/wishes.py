"""Reads what a client asks for, from a form or from JSON, into one shape."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from appliance.errors import BadInput, NotFound
from services.stt.formats import FORMATS, TIMED, Format
from services.stt.vocabulary import Manner, Task

GENERIC_MODELS = frozenset({"", "whisper-1"})
"""Names that OpenAI's clients send when any Whisper will do."""

_LONGEST_PROMPT = 4_000
_STREAMED = frozenset({"json", "text"})
_YES_OR_NO = {"": False, "false": False, "0": False, "true": True, "1": True}
_GRANULARITIES = frozenset({"word", "segment"})
# JSON can hold half of a character; no model has a token for one.
_HALF = re.compile("[\ud800-\udfff]")
_LANGUAGE = re.compile(r"([a-z]{2,3})([-_][a-z0-9]+)*", re.IGNORECASE)


@dataclass(frozen=True)
class Wish:
    """How to listen, and in which shape to answer; ``streamed``: as events, while it is heard."""

    manner: Manner
    shape: Format
    words: bool
    streamed: bool


def read_wish(fields: Mapping[str, Any], task: Task, served: Sequence[str]) -> Wish:
    """The wish in a request's fields; those not given have OpenAI's defaults.

    Raises:
        BadInput: a field has an impossible value.
        NotFound: another model is asked for than the one served.
    """
    _check_model(_text(fields, "model"), served)
    shape = _text(fields, "response_format") or "json"
    if shape not in FORMATS:
        raise BadInput(
            "format_unknown",
            "The response_format is none of ours.",
            f"Use one of {', '.join(FORMATS)}.",
        )
    granularities = _granularities(fields)
    manner = Manner(
        task=task,
        language=_language(_text(fields, "language")),
        prompt=_prompt(_text(fields, "prompt")),
        temperature=_temperature(fields.get("temperature")),
        timed=shape in TIMED,
    )
    streamed = _streamed(fields.get("stream"), shape)
    return Wish(manner, cast("Format", shape), "word" in granularities, streamed)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadInput("invalid_request", f"The field {name} must be text.", "docs/api.md has it.")
    if _HALF.search(value):
        raise BadInput("text_not_unicode", f"The field {name} holds half of a character.")
    return value.strip()


def _check_model(name: str, served: Sequence[str]) -> None:
    if name not in GENERIC_MODELS and name not in served:
        raise NotFound(
            "model_not_found",
            "The model asked for is not the one loaded here.",
            f"Ask for {' or '.join([*served, 'whisper-1'])}.",
        )


def _language(given: str) -> str:
    if given.lower() in ("", "auto"):
        return ""
    match = _LANGUAGE.fullmatch(given)
    if match is None:
        raise BadInput(
            "language_not_supported",
            "The language is not a code.",
            "Use a two-letter code such as en, or leave it out to have it recognised.",
        )
    return match[1].lower()


def _prompt(given: str) -> str:
    if len(given) > _LONGEST_PROMPT:
        raise BadInput(
            "prompt_too_long",
            f"The prompt is longer than {_LONGEST_PROMPT} characters.",
            "Whisper reads about the last 200 tokens of it.",
        )
    return given


def _temperature(given: Any) -> float:
    try:
        value = 0.0 if given in (None, "") else float(given)
    except (TypeError, ValueError):
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise BadInput("temperature_invalid", "The temperature must be from 0 to 1.", "0 is best.")
    return value


def _streamed(given: Any, shape: str) -> bool:
    given = "" if given is None else given
    wanted = _YES_OR_NO.get(str(given).lower()) if isinstance(given, str | bool) else None
    if wanted is None:
        raise BadInput("invalid_request", "The field stream must be true or false.")
    if wanted and shape not in _STREAMED:
        raise BadInput(
            "stream_not_supported",
            f"The response_format {shape} is not streamed.",
            "Leave out stream, or ask for json or text.",
        )
    return wanted


def _granularities(fields: Mapping[str, Any]) -> set[str]:
    given = fields.get("timestamp_granularities[]", fields.get("timestamp_granularities"))
    if isinstance(given, str):
        given = [given] if given else []
    if given is None:
        return set()
    if not isinstance(given, list) or not _GRANULARITIES.issuperset(map(str, given)):
        raise BadInput(
            "granularity_unknown",
            "timestamp_granularities holds something else than word and segment.",
            "Use word, segment or both.",
        )
    return set(map(str, given))
