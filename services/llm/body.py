"""The body of a chat request: what is taken, and what is refused instead of ignored."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, Field

from appliance.errors import BadInput
from services.llm.vocabulary import MOST_TOP_K, Chat, Message, Role, Sampling

_ROLES: dict[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant",
}  # fmt: skip
# JSON can hold half of a character; no model has a token for one.
_HALF = re.compile("[\ud800-\udfff]")


class _Part(BaseModel):
    type: str
    text: str | None = None


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[_Part] | None = None
    tool_calls: list[Any] | None = None

    def message(self) -> Message:
        if self.role not in _ROLES or self.tool_calls:
            raise _no_tools()
        return Message(_ROLES[self.role], self._text())

    def _text(self) -> str:
        if not isinstance(self.content, list):
            return self.content or ""
        if any(part.type not in ("text", "refusal") for part in self.content):
            raise BadInput(
                "content_not_supported", "This model takes text only.", "Send parts of type text."
            )
        return "".join(part.text or "" for part in self.content)


class _StreamOptions(BaseModel):
    include_usage: bool = False


class ChatBody(BaseModel):
    """OpenAI's fields, and ``top_k``, ``repeat_penalty``, ``keep_messages`` of our own."""

    model: str = Field("", max_length=200)
    messages: list[_Message] = Field(min_length=1, max_length=2000)
    stream: bool = False
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=0)
    max_completion_tokens: int | None = Field(None, ge=0)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=1, le=MOST_TOP_K)
    repeat_penalty: float | None = Field(None, ge=0.5, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    stop: str | list[str] | None = Field(None, max_length=1000)
    seed: int | None = None
    keep_messages: int = Field(0, ge=0)
    n: int | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    logprobs: bool | None = None
    logit_bias: dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None

    def chat(self) -> Chat:
        """The request in our words.

        Raises:
            BadInput: it asks for something that this model does not do, or holds half a character.
        """
        self._refuse_the_unsupported()
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        messages = tuple(message.message() for message in self.messages)
        if any(map(_HALF.search, (*(message.text for message in messages), *stops))):
            raise BadInput(
                "text_not_unicode", "The text holds half of a character.",
                "An escape from \\ud800 to \\udfff stands for a character only as one of a pair.",
            )  # fmt: skip
        given = {
            name: value
            for name in Sampling.__dataclass_fields__
            if (value := getattr(self, name)) is not None
        }
        most = self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens
        return Chat(
            messages=messages,
            sampling=Sampling(**given),
            max_tokens=most,
            stops=tuple(stops),
            keep_messages=self.keep_messages,
        )

    def _refuse_the_unsupported(self) -> None:
        if self.tools or self.functions:
            raise _no_tools()
        kind = (self.response_format or {}).get("type", "text")
        for name, wrong in (
            ("n", self.n not in (None, 1)),
            ("logprobs", bool(self.logprobs)),
            ("logit_bias", bool(self.logit_bias)),
            ("response_format", kind != "text"),
        ):
            if wrong:
                raise BadInput(
                    f"{name}_not_supported", f"This service does not offer {name!r}.",
                    "Leave it out.",
                )  # fmt: skip


def _no_tools() -> BadInput:
    return BadInput(
        "tools_not_supported", "This language model cannot call tools.", "Leave the tools out."
    )
