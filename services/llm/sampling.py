"""Picking the next token from the model's logits."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import numpy.typing as npt

from services.llm.context import Ids, Logits
from services.llm.vocabulary import Sampling

# Penalties look back this far, over the answer and the prompt's end.
PENALTY_TOKENS = 64
# e to this power: what lies farther below the likeliest is never drawn.
_FARTHEST = 10.0
# Below this the reach is lost in the logits' rounding: nothing but the likeliest would be drawn.
_COLDEST = 1e-4


class Picker:
    """Picks one answer's tokens.

    The likeliest tokens are taken first and everything else is done to those few: over a whole
    vocabulary it costs ten times as much.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._how = sampling
        self._random = random.Random(sampling.seed).random
        self.penalises = (
            sampling.repeat_penalty != 1.0
            or sampling.frequency_penalty != 0.0
            or sampling.presence_penalty != 0.0
        )
        """Whether ``pick`` has to be shown the latest tokens."""
        self._is_greedy = sampling.temperature < _COLDEST
        self._reach = _FARTHEST * max(sampling.temperature, 1.0 if self.penalises else 0.0)

    def pick(self, logits: Logits, ids: Ids | None = None, past: Ids | None = None) -> int:
        """The next token.

        Args:
            logits: of the likeliest tokens at least; not changed.
            ids: which tokens they are; None: the whole vocabulary.
            past: the latest tokens, at most ``PENALTY_TOKENS``, where it ``penalises``.
        """
        top = logits.argmax()
        if self._is_greedy and past is None:
            return int(top if ids is None else ids[top])
        near = (logits >= logits[top] - self._reach).nonzero()[0]
        values = logits[near]
        if len(near) > self._how.top_k:
            kept = values.argpartition(-self._how.top_k)[-self._how.top_k :]
            near, values = near[kept], values[kept]
        tokens = near if ids is None else ids[near]
        # A seed draws the same again whatever order they came in.
        order = tokens.argsort()
        tokens, values = tokens[order], values[order]
        if past is not None:
            values = self._penalised(tokens, values, past)
        if self._is_greedy:
            return int(tokens[values.argmax()])
        return self._drawn(tokens, values)

    def _drawn(self, tokens: npt.NDArray[np.integer[Any]], values: Logits) -> int:
        how = self._how
        weights = np.exp((values - values.max()) / how.temperature)
        if how.top_p < 1.0:
            order = (-weights).argsort()
            tokens, sums = tokens[order], weights[order].cumsum()
            sums = sums[: sums.searchsorted(how.top_p * sums[-1]) + 1]
        else:
            sums = weights.cumsum()
        drawn = sums.searchsorted(self._random() * sums[-1], side="right")
        return int(tokens[min(drawn, len(sums) - 1)])

    def _penalised(self, tokens: npt.NDArray[np.integer[Any]], values: Logits, past: Ids) -> Logits:
        counts = (tokens[:, None] == past).sum(axis=1)
        said = counts > 0
        repeated = np.where(
            values > 0, values / self._how.repeat_penalty, values * self._how.repeat_penalty
        )
        less = counts * self._how.frequency_penalty + said * self._how.presence_penalty
        found: Logits = np.where(said, repeated, values) - less
        return found
