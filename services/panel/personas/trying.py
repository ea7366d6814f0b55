"""Talking with a persona by text before anyone calls it; nothing of that is kept."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from appliance.elsewhere import NO_THINKING
from appliance.personas import Persona
from appliance.settings import Settings

Said = Annotated[str, StringConstraints(min_length=1, max_length=4000)]


class Line(BaseModel):
    """One thing said while trying."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["user", "assistant"]
    content: Said


class Trial(BaseModel):
    """A persona as it stands in the form, and the talk so far."""

    model_config = ConfigDict(extra="forbid")
    persona: Persona
    messages: list[Line] = Field(min_length=1, max_length=60)


def question(settings: Settings, trial: Trial) -> bytes:
    """What the language model is asked: as in a call, the instructions, the examples, the talk."""
    persona = trial.persona
    messages = [{"role": "system", "content": persona.instructions}]
    for example in persona.examples:
        messages.append({"role": "user", "content": example.user})
        messages.append({"role": "assistant", "content": example.assistant})
    first = len(messages)
    messages += [line.model_dump() for line in trial.messages]
    elsewhere = bool(settings.llm.url)
    body: dict[str, Any] = {
        "model": persona.model or (settings.llm.model if elsewhere else "default"),
        "messages": messages,
        "stream": True,
        **persona.sampling.model_dump(exclude_none=True),
    }
    if not elsewhere:
        body["keep_messages"] = first
    elif settings.llm.no_thinking:
        body.update(NO_THINKING)
    return json.dumps(body).encode()
