"""The language model's engine: one conversation after another, on one thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import ClassVar, Literal

from appliance import logs
from appliance.catalogue import Catalogue
from appliance.errors import ApplianceError
from appliance.serving import PAUSE, Engine, Pause
from appliance.settings import Settings
from services.llm.answer import Answer
from services.llm.model import Model, Side
from services.llm.prompt import Tokens, fitted
from services.llm.vocabulary import Chat, Finished, Message, Sampling, Stopped, Words

log = logs.get(__name__)

_MOST_THREADS = 2
# Room kept for an answer whose longest length is not given, and the most that is kept.
_ANSWER_TOKENS = 256
_MOST_OF_WINDOW = 2

_SAMPLE = Chat(
    (Message("user", "Name the first four months of the year."),),
    Sampling(temperature=0.0),
    max_tokens=24,
)
_SAMPLE_WORDS = 3


class LlamaEngine(Engine[Chat, Words | Finished]):
    """Serves one GGUF model."""

    name: ClassVar[str] = "llm"
    # llama.cpp's calls belong to one thread: a second one costs a third of the speed.
    concurrency = 1

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.model_id = Catalogue(settings).selected("llm")

    def models(self) -> list[str]:
        """The one model that is resident."""
        return [self.model_id]

    def _load(self) -> None:
        file = Catalogue(self._settings).installed("llm", self.model_id).files["model"]
        llm = self._settings.llm
        self._model = Model(
            self.model_id,
            file,
            context_tokens=llm.context_tokens,
            threads=llm.threads or _spare_cores(),
            gpu_layers=llm.gpu_layers,
        )

    def _sample(self) -> None:
        chunks = self._run(_SAMPLE, threading.Event())
        said = "".join(chunk.text for chunk in chunks if isinstance(chunk, Words))
        # A damaged model repeats one token or prints no letters at all.
        words = {word.lower() for word in said.split() if any(map(str.isalpha, word))}
        if len(words) < _SAMPLE_WORDS:
            raise ApplianceError(
                "model_babbles", "The language model was loaded, but its answer makes no sense.",
                f"`scripts/appliance models verify {self.model_id}` checks its file.",
            )  # fmt: skip

    def _run(self, request: Chat, stop: threading.Event) -> Iterator[Words | Finished | Pause]:
        window = self._model.window_tokens
        wanted = _ANSWER_TOKENS if request.max_tokens is None else request.max_tokens
        room = window - max(1, min(wanted, window // _MOST_OF_WINDOW))
        tokens, dropped = fitted(request.messages, request.keep_messages, room, self._model.render)
        if dropped:
            log.info("history_shortened", messages=dropped)
        known = -1
        try:
            for first in self._model.read(tokens, stop, _side(request)):
                known = first if known < 0 else known
                yield PAUSE
        except Stopped:
            return
        most = window - len(tokens)
        if request.max_tokens is not None:
            most = min(most, request.max_tokens)
        reason: Literal["stop", "length"] = "length"
        answer, spoken = Answer(request.stops), 0
        if most > 0:
            reason = "stop"
            for piece in self._spoken(tokens, request, stop):
                if piece is PAUSE:
                    yield PAUSE
                    continue
                spoken += 1
                text = answer.push(piece)
                if answer.stopped or spoken >= most:
                    reason = "stop" if answer.stopped else "length"
                    if text:
                        yield Words(text)
                    break
                yield Words(text) if text else PAUSE
        if stop.is_set():
            return
        if text := answer.flush():
            yield Words(text)
        yield Finished(reason, len(tokens), spoken, known)

    def _spoken(
        self, tokens: Tokens, request: Chat, stop: threading.Event
    ) -> Iterator[bytes | Pause]:
        """The answer's bytes, token by token; taken up again where callers came in between."""
        said: Tokens = []
        side = _side(request)
        while True:
            try:
                if said:
                    for _ in self._model.read(tokens + said, stop, side):
                        yield PAUSE
            except Stopped:
                return
            for token, piece in self._model.speak(tokens + said, request.sampling, len(said)):
                said.append(token)
                yield piece
                if stop.is_set():
                    return
                if not self._model.is_on(side):
                    break
            else:
                return


def _side(request: Chat) -> Side:
    return "others" if request.background else "calls"


def _spare_cores() -> int:
    """Threads when the settings name none: two, but one core stays free for the others.

    llama.cpp's threads wait for each other by spinning. With two of them on two cores and one
    more busy program, they make a tenth of the words that a single thread makes.
    """
    return max(1, min(_MOST_THREADS, (os.cpu_count() or 1) - 1))
