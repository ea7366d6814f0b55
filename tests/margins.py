"""How nearly a model would have said something else where two of its answers part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile

import numpy as np

from appliance.catalogue import Catalogue
from appliance.settings import Settings
from services.llm.context import Context, Plan, Row
from services.llm.model import Model
from services.llm.vocabulary import Message

_STEP = 64


class Margins:
    """Reads conversations on its own, beside whatever is tested."""

    def __init__(self, model: Model, context: Context) -> None:
        self._model = model
        self._context = context

    def between(self, talk: Sequence[Message], one: str, other: str) -> float:
        """Distance of the logits of the first tokens in which two answers to a talk differ."""
        prompt = self._model.render(talk, self._context.window_tokens)
        assert prompt is not None
        first, second = self._model.tokenize(one), self._model.tokenize(other)
        alike = takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
        same = len(list(alike))
        logits = self._read(prompt + first[:same])
        return abs(self._best(logits, first[same:]) - self._best(logits, second[same:]))

    def _best(self, logits: Sequence[float], rest: list[int]) -> float:
        wanted: Iterable[int] = rest[:1] or self._model.ends
        return max(float(logits[token]) for token in wanted)

    def _read(self, tokens: list[int]) -> Sequence[float]:
        self._context.cut(0, 0)
        last = 0
        for at in range(0, len(tokens), _STEP):
            piece = np.array(tokens[at : at + _STEP], np.int32)
            is_last = at + _STEP >= len(tokens)
            assert self._context.decode([Row(0, at, piece, is_last)]) == 0
            last = len(piece) - 1
        return list(self._context.logits(last)[0])


@contextmanager
def margins(model_id: str, window: int) -> Iterator[Margins]:
    """Of a model of the catalogue, on the processor."""
    file = Catalogue(Settings()).installed("llm", model_id).files["model"]
    model = Model(model_id, file, gpu_layers=0)
    context = Context(
        model_id, model, Plan(sequences=2, context_tokens=window, threads=1, step_tokens=_STEP)
    )
    try:
        yield Margins(model, context)
    finally:
        context.close()
        model.close()
