"""What goes into the decoder, and what comes out of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import Enum
from queue import SimpleQueue
from typing import NamedTuple

from appliance.errors import ApplianceError
from appliance.serving import Priority, Rank
from services.llm.context import Ids
from services.llm.vocabulary import Sampling


class Read(NamedTuple):
    """A part of the prompt has been read; ``known`` of its tokens were known already."""

    known: int


class Done(Enum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    LEFT = "left"
    """Its asker wanted no more of it."""


Item = Read | int | Done | ApplianceError


class ContextFull(ApplianceError):
    """The cache has no room for a conversation."""

    def __init__(self) -> None:
        super().__init__(
            "context_length_exceeded", "The conversation is longer than the model's window.",
            "Send less text, or raise the setting llm.context_tokens.",
        )  # fmt: skip


class Broken(ApplianceError):
    """The library failed on this conversation."""

    def __init__(self) -> None:
        super().__init__(
            "engine_error", "The llm service failed on this request.",
            "`scripts/appliance logs llm` says where.", can_retry=True,
        )  # fmt: skip


@dataclass(eq=False)
class Asked:
    """One conversation to be read and continued."""

    prompt: Ids
    most: int
    """Longest answer in tokens; 0: read the prompt, say nothing."""
    sampling: Sampling = field(default_factory=Sampling)
    session: str = ""
    """Whose conversation it is; empty: a stranger's."""
    rank: Rank = field(default_factory=Rank)
    """May rise between two steps."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when the request is cancelled; seen between two steps."""
    out: SimpleQueue[Item] = field(default_factory=SimpleQueue)
    """``Read`` for each piece of the prompt, each token that is said, then ``Done`` or an error."""
    is_over: bool = False
    """Set by its asker when no more of it is needed; seen between two steps."""

    @property
    def is_unwanted(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.is_over or self.stop.is_set()

    @property
    def priority(self) -> Priority:
        """Whether others' work goes first."""
        return self.rank.priority

    @property
    def is_background(self) -> bool:
        """Whether it waits while any call's work is there."""
        return self.priority is Priority.BACKGROUND
