"""The language model's engine: each room's conversation in a place of its own, all in one step."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar, Literal

import numpy as np

from appliance import logs
from appliance.catalogue import Catalogue
from appliance.catalogue.fit import KvType
from appliance.catalogue.placing import FlashAttention
from appliance.errors import ApplianceError, BadInput
from appliance.seats import conversations_of
from appliance.serving import PAUSE, Engine, Pause
from appliance.settings import Settings
from services.llm.answer import Answer
from services.llm.asked import Asked, ContextFull, Done, Read
from services.llm.context import Context, Plan
from services.llm.decoder import Decoder
from services.llm.model import Model
from services.llm.prompt import Tokens, fitted
from services.llm.vocabulary import MOST_TOP_K, Chat, Finished, Message, Sampling, Words

log = logs.get(__name__)

_MOST_THREADS = 2
# Room kept for an answer whose longest length is not given, and the most that is kept.
_ANSWER_TOKENS = 256
_MOST_OF_WINDOW = 2
# What a thought that nobody asked for may take beside an answer's longest length: else that would
# be used up before the first word is said. Longer thoughts are a silence that no caller waits for.
_THOUGHT_TOKENS = 512
# Of a prompt in one step: on two cores 0.1 s, in which nobody is heard; a GPU needs more at once
# to be used well.
_STEP_TOKENS = {"cpu": 64, "gpu": 512}
# A cache that is fuller than it says gets so much less of the conversation, this often.
_LESS = 0.75
_TRIES = 3
# One for calls, one for the rest.
_FEWEST_SLOTS = 2

_SAMPLE = Chat(
    (
        # As in every call: some templates refuse a system's message.
        Message("system", "You answer in one short sentence."),
        Message("user", "Name the first four months of the year."),
    ),
    Sampling(temperature=0.0),
    max_tokens=24,
)
_SAMPLE_WORDS = 3


class LlamaEngine(Engine[Chat, Words | Finished]):
    """Serves one GGUF model to several rooms at once."""

    name: ClassVar[str] = "llm"

    def __init__(
        self,
        settings: Settings,
        *,
        slots: int | None = None,
        gpu_layers: int | None = None,
        kv_type: KvType = "f16",
        flash_attn: FlashAttention = "auto",
        on_gpu: bool = False,
    ) -> None:
        """
        Args:
            settings: the box's.
            slots: conversations kept and continued at once, at least 2: the last is for other
                programs' work. None: one more than seats.
            gpu_layers: on the GPU, -1 for all; None: as the settings say.
            kv_type: how the conversations' cache is kept; other than f16 needs ``flash_attn``.
            flash_attn: auto: where the library finds that it can.
            on_gpu: whether a step is to be as large as a GPU wants it, and the likeliest tokens are
                chosen there.
        """
        self._settings = settings
        self.model_id = Catalogue(settings).selected("llm")
        slots = max(_FEWEST_SLOTS, slots or conversations_of(settings))
        self.concurrency = slots - 1
        llm = settings.llm
        self._gpu_layers = llm.gpu_layers if gpu_layers is None else gpu_layers
        self._plan = Plan(
            sequences=slots,
            context_tokens=llm.context_tokens,
            threads=llm.threads or spare_cores(),
            step_tokens=_STEP_TOKENS["gpu" if on_gpu else "cpu"],
            kv_type=kv_type,
            flash_attn=flash_attn,
            likeliest=MOST_TOP_K if self._samples_in_graph(on_gpu) else 0,
        )
        self._decoder = Decoder(self._opened, slots=slots, step_tokens=self._plan.step_tokens)

    def _samples_in_graph(self, on_gpu: bool) -> bool:
        asked = self._settings.llm.backend_sampling
        # A processor gains nothing by it: it looks at the same logits in either place.
        return on_gpu if asked == "auto" else asked == "on"

    def models(self) -> list[str]:
        """The one model that is resident."""
        return [self.model_id]

    def _load(self) -> None:
        self._decoder.start()

    def _opened(self) -> tuple[Model, Context]:
        file = Catalogue(self._settings).installed("llm", self.model_id).files["model"]
        self._model = Model(self.model_id, file, gpu_layers=self._gpu_layers)
        try:
            self._context = Context(self.model_id, self._model, self._plan)
        except ApplianceError:
            self._model.close()
            raise
        return self._model, self._context

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
        room = prompt_room(request, self._context.window_tokens, self._model.may_think)
        if request.max_tokens == 0 and self._model.is_recurrent:
            # It could not forget the end of what it has read, and the answer would begin anew.
            tokens, _ = self._fitted(request, room)
            yield Finished("length", len(tokens), 0, 0)
            return
        for tries in range(1, _TRIES + 1):
            asked = self._ask(request, stop, room)
            try:
                yield from answered(request, asked, self._model.piece)
                return
            except ContextFull:
                if tries == _TRIES:
                    raise
                room = int(len(asked.prompt) * _LESS)
            finally:
                # Also when nobody reads on, as after a stop text.
                asked.is_over = True

    def _fitted(self, request: Chat, room: int) -> tuple[Tokens, int]:
        """The prompt's tokens, and how many messages had to be left out."""
        keep = request.keep_messages
        render = partial(self._model.render, most_tokens=self._context.window_tokens)
        try:
            return fitted(request.messages, keep, room, render)
        except BadInput as error:
            # One long message may have all that its own answer leaves.
            least = self._context.window_tokens - max(1, request.max_tokens or _ANSWER_TOKENS)
            if least <= room or error.code != "context_length_exceeded":
                raise
            return fitted(request.messages, keep, least, render)

    def _ask(self, request: Chat, stop: threading.Event, room: int) -> Asked:
        tokens, dropped = self._fitted(request, room)
        if dropped:
            log.info("history_shortened", messages=dropped)
        most = self._context.window_tokens - len(tokens)
        if request.max_tokens is not None:
            thought = _THOUGHT_TOKENS if request.max_tokens and self._model.may_think else 0
            most = min(most, request.max_tokens + thought)
        asked = Asked(
            np.array(tokens, np.int32), most, request.sampling, request.session,
            request.rank, stop,
        )  # fmt: skip
        self._decoder.submit(asked)
        return asked


def prompt_room(request: Chat, window_tokens: int, may_think: bool) -> int:
    """Tokens of the window for the conversation: the rest is the answer's, and its thought's."""
    # The same for reading ahead and for the answer: each drops what the other does.
    wanted = max(_ANSWER_TOKENS, request.max_tokens or 0) + (_THOUGHT_TOKENS if may_think else 0)
    return window_tokens - max(1, min(wanted, window_tokens // _MOST_OF_WINDOW))


def answered(
    request: Chat, asked: Asked, spell: Callable[[int], bytes]
) -> Iterator[Words | Finished | Pause]:
    """What the decoder gives out, as text."""
    answer, spoken, hidden, known = Answer(request.stops), 0, 0, -1
    while True:
        item = asked.out.get()
        if isinstance(item, int):
            spoken += 1
            was_thinking = answer.is_thinking
            text = answer.push(spell(item))
            # The token that ends a thought belongs to it.
            hidden = spoken if was_thinking or answer.is_thinking else hidden
            yield Words(text) if text else PAUSE
            if answer.stopped:
                item = Done.STOP
                break
            if spoken < asked.most and spoken - hidden == request.max_tokens:
                # What is kept for a thought is not the answer's.
                item = Done.LENGTH
                break
        elif isinstance(item, Read):
            known = item.known if known < 0 else known
            yield PAUSE
        elif isinstance(item, Done):
            break
        elif isinstance(item, ContextFull) and spoken:
            item = Done.LENGTH
            break
        else:
            raise item
    if item is Done.LEFT:
        return
    if text := answer.flush():
        yield Words(text)
    reason: Literal["stop", "length"] = "stop" if item is Done.STOP else "length"
    yield Finished(reason, len(asked.prompt), spoken, known, hidden)


def spare_cores() -> int:
    """Threads when the settings name none: two, but one core stays free for the others.

    llama.cpp's threads wait for each other by spinning. With two of them on two cores and one
    more busy program, they make a tenth of the words that a single thread makes.
    """
    return max(1, min(_MOST_THREADS, (os.cpu_count() or 1) - 1))
