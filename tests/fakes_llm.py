"""A pretended language model under the real decoder, and how it is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import numpy as np

from appliance.errors import ApplianceError
from appliance.serving import Priority, Rank
from services.llm.asked import Asked, Done, Item, Read
from services.llm.context import Logits, Row
from services.llm.decoder import Decoder
from services.llm.vocabulary import Sampling

WINDOW = 64
WAIT_S = 30.0
_VOCABULARY = 1000
_END = 999


@dataclass
class PretendedModel:
    """Says the next number after the last one it read. Its cache is a list per conversation."""

    can_copy: bool = True
    window_tokens: int = WINDOW
    can_cut: bool = True
    ends: frozenset[int] = frozenset({_END})
    cache: dict[int, list[int]] = field(default_factory=dict)
    steps: list[list[Row]] = field(default_factory=list)
    copies: int = 0
    faulty: dict[int, int] = field(default_factory=dict)
    """Token -> what a step with it returns."""
    numberless: frozenset[int] = frozenset()
    """Tokens after which the logits are no numbers."""
    allowed: SimpleQueue[None] | None = None
    """One for each step that may be made; None: all."""
    last: list[int] = field(default_factory=list)

    def cut(self, sequence: int, keep: int) -> int:
        tokens = self.cache.setdefault(sequence, [])
        if not self.can_cut and keep < len(tokens):
            keep = 0
        del tokens[keep:]
        return keep

    def copy(self, source: int, target: int) -> None:
        self.copies += 1
        self.cache[target] = list(self.cache[source])

    def decode(self, rows: list[Row]) -> int:
        if self.allowed is not None:
            self.allowed.get()
        # In another order the library computes them one after another.
        assert [row.sequence for row in rows] == sorted(row.sequence for row in rows)
        self.steps.append(rows)
        for row in rows:
            for token in row.tokens:
                if int(token) in self.faulty:
                    return self.faulty[int(token)]
        self.last = []
        for row in rows:
            held = self.cache.setdefault(row.sequence, [])
            # As the library: a token belongs behind those that are there.
            assert len(held) == row.start, (held, row)
            held.extend(map(int, row.tokens))
            self.last.extend(map(int, row.tokens))
        return 0

    def logits(self, position: int) -> tuple[Logits, None]:
        found = np.zeros(_VOCABULARY, np.float32)
        found[(self.last[position] + 1) % _VOCABULARY] = 20.0
        if self.last[position] in self.numberless:
            found[:] = np.nan
        return found, None


class Desk:
    """A decoder and what it is asked."""

    def __init__(self, model: PretendedModel, slots: int, step: int) -> None:
        self.model = model
        self.decoder = Decoder(lambda: (model, model), slots=slots + 1, step_tokens=step)
        self.decoder.start()

    def ask(
        self, prompt: list[int], most: int = 3, temperature: float = 0.0,
        priority: Priority = Priority.LIVE, **more: Any,
    ) -> Asked:  # fmt: skip
        sampling = Sampling(temperature=temperature)
        asked = Asked(np.array(prompt, np.int32), most, sampling, rank=Rank(priority), **more)
        self.decoder.submit(asked)
        return asked

    def answer(self, prompt: list[int], most: int = 3, **more: Any) -> list[Item]:
        return rest(self.ask(prompt, most, **more))


def rest(asked: Asked) -> list[Item]:
    """Everything up to the end of an answer."""
    found: list[Item] = []
    while not found or not isinstance(found[-1], Done | ApplianceError):
        found.append(asked.out.get(timeout=WAIT_S))
    return found


def words(items: list[Item]) -> list[int]:
    return [item for item in items if isinstance(item, int)]


def known(items: list[Item]) -> int:
    return next(item.known for item in items if isinstance(item, Read))
