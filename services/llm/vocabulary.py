"""What the language model is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from appliance.serving import Rank

Role = Literal["system", "user", "assistant"]

# More than so many tokens no answer is drawn from.
MOST_TOP_K = 1000


@dataclass(frozen=True)
class Message:
    """One thing said in the conversation."""

    role: Role
    text: str


@dataclass(frozen=True)
class Sampling:
    """How the next word is picked."""

    temperature: float = 1.0
    """0: always the likeliest word, the same every time."""
    top_p: float = 1.0
    """0: always the likeliest word, too."""
    top_k: int = 40
    """At most ``MOST_TOP_K``."""
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int | None = None


@dataclass(frozen=True)
class Chat:
    """One request."""

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    """Longest answer; 0: read the conversation, say nothing; None: until the model ends."""
    stops: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it."""
    keep_messages: int = 0
    """How many leading messages are never dropped, besides system ones."""
    session: str = ""
    """Whose conversation it is: its place in the cache is kept for it. Empty: a stranger's."""
    rank: Rank = field(default_factory=Rank)
    """Whether others' requests go first."""


@dataclass(frozen=True)
class Words:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The end of the answer, in tokens."""

    reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    """Of the prompt, how many were still known from the last request."""
    thought_tokens: int = 0
    """Of the completion, how many were a thought, which is not said."""
