"""Picking the next token from the model's logits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.llm.vocabulary import Sampling

Logits = npt.NDArray[np.float32]

# Penalties look back this far, over the answer and the prompt's end.
PENALTY_TOKENS = 64
# e to this power: what lies farther below the likeliest is never drawn.
_FARTHEST = 10.0


class Picker:
    """Picks one answer's tokens.

    The likeliest tokens are taken first and everything else is done to those few: over a whole
    vocabulary it costs ten times as much.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._how = sampling
        self._random = np.random.default_rng(sampling.seed)
        self._penalises = (
            sampling.repeat_penalty != 1.0
            or sampling.frequency_penalty != 0.0
            or sampling.presence_penalty != 0.0
        )
        self.needs_past = self._penalises
        """Whether ``pick`` has to be shown the latest tokens."""

    def pick(self, logits: Logits, past: npt.NDArray[np.int32] | None = None) -> int:
        """The next token.

        Args:
            logits: one for each token of the vocabulary; not changed.
            past: the latest tokens, at most ``PENALTY_TOKENS``, where ``needs_past``.
        """
        how = self._how
        if how.temperature == 0 and not self._penalises:
            return int(logits.argmax())
        tokens, values = self._likeliest(logits)
        if self._penalises and past is not None:
            values = self._penalised(tokens, values, past)
        if how.temperature == 0:
            return int(tokens[values.argmax()])
        weights = np.exp((values - values.max()) / how.temperature)
        if how.top_p < 1.0:
            order = np.argsort(-weights)
            tokens, weights = tokens[order], weights[order]
            sums = np.cumsum(weights)
            count = int(np.searchsorted(sums, how.top_p * sums[-1])) + 1
            tokens, weights = tokens[:count], weights[:count]
        sums = np.cumsum(weights)
        drawn = np.searchsorted(sums, self._random.random() * sums[-1], side="right")
        return int(tokens[min(int(drawn), len(tokens) - 1)])

    def _likeliest(self, logits: Logits) -> tuple[npt.NDArray[np.intp], Logits]:
        reach = _FARTHEST * max(self._how.temperature, 1.0 if self._penalises else 0.0)
        tokens = np.flatnonzero(logits > logits.max() - reach)
        if len(tokens) > self._how.top_k:
            kept = np.argpartition(logits[tokens], -self._how.top_k)[-self._how.top_k :]
            tokens = tokens[kept]
        return tokens, logits[tokens]

    def _penalised(
        self, tokens: npt.NDArray[np.intp], values: Logits, past: npt.NDArray[np.int32]
    ) -> Logits:
        counts = (tokens[:, None] == past[None, :]).sum(axis=1)
        said = counts > 0
        repeated = np.where(
            values > 0, values / self._how.repeat_penalty, values * self._how.repeat_penalty
        )
        less = counts * self._how.frequency_penalty + said * self._how.presence_penalty
        found: Logits = np.where(said, repeated, values) - less
        return found
