"""The language model's engine: one conversation after another, on one thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import ClassVar, Literal

from appliance import logs
from appliance.catalogue import Catalogue
from appliance.errors import ApplianceError
from appliance.serving import Engine
from appliance.settings import Settings
from services.llm.answer import Answer
from services.llm.model import Model
from services.llm.prompt import fitted
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

    def _run(self, request: Chat, stop: threading.Event) -> Iterator[Words | Finished]:
        window = self._model.window_tokens
        wanted = _ANSWER_TOKENS if request.max_tokens is None else request.max_tokens
        room = window - max(1, min(wanted, window // _MOST_OF_WINDOW))
        tokens, dropped = fitted(request.messages, request.keep_messages, room, self._model.render)
        if dropped:
            log.info("history_shortened", messages=dropped)
        try:
            known = self._model.read(tokens, stop)
        except Stopped:
            return
        most = window - len(tokens)
        if request.max_tokens is not None:
            most = min(most, request.max_tokens)
        spoken = 0
        reason: Literal["stop", "length"] = "length"
        answer = Answer(request.stops)
        if most > 0:
            reason = "stop"
            for piece in self._model.speak(tokens, request.sampling):
                if stop.is_set():
                    return
                spoken += 1
                if text := answer.push(piece):
                    yield Words(text)
                if answer.stopped:
                    break
                if spoken >= most:
                    reason = "length"
                    break
        if text := answer.flush():
            yield Words(text)
        yield Finished(reason, len(tokens), spoken, known)


def _spare_cores() -> int:
    """Threads when the settings name none: two, but one core stays free for the others.

    llama.cpp's threads wait for each other by spinning. With two of them on two cores and one
    more busy program, they make a tenth of the words that a single thread makes.
    """
    return max(1, min(_MOST_THREADS, (os.cpu_count() or 1) - 1))
