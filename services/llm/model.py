"""llama.cpp through llama-cpp-python. One thread makes every call in here."""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from appliance import logs
from appliance.errors import ApplianceError, BadInput
from services.llm.prompt import Tokens
from services.llm.vocabulary import Message, Sampling, Stopped

log = logs.get(__name__)

# A stop is seen between two steps of this many tokens of the prompt: 0.1 s on two cores.
_PROMPT_STEP = 64
# What is larger is not put aside but read again: copying it would hold the next asker up.
_MOST_ASIDE_BYTES = 256 << 20

Side = Literal["calls", "others"]


@dataclass(frozen=True)
class _Aside:
    """A conversation's state outside the model."""

    tokens: Any
    state: Any


class Model:
    """One GGUF model with the state of the last conversation it read.

    Calls and other programs each have a last conversation; one of the two is in the model.
    """

    def __init__(
        self, model_id: str, file: Path, *, context_tokens: int, threads: int, gpu_layers: int
    ) -> None:
        import llama_cpp

        self._lib: Any = llama_cpp
        try:
            self._llama: Any = llama_cpp.Llama(
                str(file),
                n_ctx=context_tokens,
                n_threads=threads,
                n_threads_batch=threads,
                n_gpu_layers=gpu_layers,
                verbose=False,
            )
        except (ValueError, RuntimeError, OSError) as error:
            raise ApplianceError(
                "model_unreadable", f"The language model {model_id!r} cannot be loaded.",
                f"`scripts/appliance models verify {model_id}` checks its file; too little memory "
                "is the other usual cause.",
            ) from error  # fmt: skip
        self._vocab = llama_cpp.llama_model_get_vocab(self._llama.model)
        trained = llama_cpp.llama_model_n_ctx_train(self._llama.model)
        self.window_tokens: int = min(self._llama.n_ctx(), trained or context_tokens)
        self._template = self._read_template(model_id)
        self._control = self._control_texts()
        self._side: Side = "calls"
        self._aside: dict[Side, _Aside] = {}

    def _read_template(self, model_id: str) -> Any:
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        template = self._llama.metadata.get("tokenizer.chat_template")
        if not template:
            raise ApplianceError(
                "model_without_template", f"The model {model_id!r} has no chat template.",
                "Choose an instruction-tuned model.",
            )  # fmt: skip
        return Jinja2ChatFormatter(
            template,
            eos_token=self._text_of(self._llama.token_eos()),
            bos_token=self._text_of(self._llama.token_bos()),
        )

    def _text_of(self, token: int) -> str:
        if token < 0:
            return ""
        return str(self._lib.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace"))

    def _control_texts(self) -> re.Pattern[str] | None:
        """Matches the model's control tokens, such as the mark of a turn's end."""
        is_control = self._lib.llama_vocab_is_control
        tokens = (t for t in range(self._llama.n_vocab()) if is_control(self._vocab, t))
        texts = sorted((t for t in map(self._text_of, tokens) if len(t) > 2), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, texts))) if texts else None

    def render(self, messages: Sequence[Message]) -> Tokens:
        """The conversation as tokens, up to where the assistant is to speak.

        Raises:
            BadInput: the model's template does not take these messages.
        """
        shown = [{"role": m.role, "content": self._harmless(m.text)} for m in messages]
        try:
            prompt = self._template(messages=shown, enable_thinking=False).prompt
        except Exception as error:
            # A template is a program from the model's file; it may raise anything.
            log.info("template_refused", error=type(error).__name__)
            raise BadInput(
                "messages_refused", "The model's template does not take these messages.",
                "Start with a system or user message and end with a user message.",
            ) from error  # fmt: skip
        return list(self._llama.tokenize(prompt.encode(), add_bos=False, special=True))

    def _harmless(self, text: str) -> str:
        # What a caller types must not end his own turn and speak as the system.
        return self._control.sub(" ", text) if self._control else text

    def is_on(self, side: Side) -> bool:
        """Whether this side's conversation is the one in the model."""
        return self._side == side

    def turn_to(self, side: Side) -> None:
        """Have this side's last conversation in the model; the other's is put aside."""
        if self._side == side:
            return
        llama = self._llama
        self._aside[self._side] = self._taken_out()
        self._side = side
        self._lib.llama_memory_clear(self._lib.llama_get_memory(llama.ctx), False)
        llama.n_tokens = 0
        found = self._aside.pop(side, None)
        if found is None or not len(found.tokens):
            return
        if self._lib.llama_state_seq_set_data(llama.ctx, found.state, len(found.state), 0):
            llama.input_ids[: len(found.tokens)] = found.tokens
            llama.n_tokens = len(found.tokens)
            # The state has no logits in it: a token must be read before one can be picked.
            llama._requires_eval = True  # noqa: SLF001  the library offers no other way

    def _taken_out(self) -> _Aside:
        llama = self._llama
        size = self._lib.llama_state_seq_get_size(llama.ctx, 0)
        if not 0 < size <= _MOST_ASIDE_BYTES:
            return _Aside((), b"")
        state = (ctypes.c_uint8 * size)()
        written = self._lib.llama_state_seq_get_data(llama.ctx, state, size, 0)
        tokens = llama.input_ids[: llama.n_tokens].copy() if written == size else ()
        return _Aside(tokens, state)

    def read(self, tokens: Tokens, stop: threading.Event, side: Side) -> Iterator[int]:
        """Take in a prompt except its last token, going on from what is known already.

        Between two steps the other side may have used the model; this one then goes on.

        Yields:
            After each step, how many tokens were known at the beginning; at least once.

        Raises:
            Stopped: ``stop`` was set; what was read until then stays known.
        """
        first = -1
        while True:
            self.turn_to(side)
            known = self._known(tokens)
            first = known if first < 0 else first
            if known >= len(tokens) - 1:
                yield first
                # Whoever was let in between has left another conversation in the model.
                if self.is_on(side):
                    return
                continue
            if stop.is_set():
                raise Stopped
            self._llama.eval(tokens[known : min(known + _PROMPT_STEP, len(tokens) - 1)])
            yield first

    def _known(self, tokens: Tokens) -> int:
        """Forget what does not belong to this prompt; the length of what is left."""
        llama = self._llama
        before = llama.input_ids[: llama.n_tokens]
        length = min(len(before), len(tokens) - 1)
        differs = np.flatnonzero(before[:length] != np.asarray(tokens[:length]))
        keep = int(differs[0]) if len(differs) else length
        if keep < llama.n_tokens:
            memory = self._lib.llama_get_memory(llama.ctx)
            # Recurrent models cannot forget a part; they read everything again.
            if keep == 0 or not self._lib.llama_memory_seq_rm(memory, 0, keep, -1):
                self._lib.llama_memory_clear(memory, True)
                keep = 0
            llama.n_tokens = keep
        return keep

    def speak(
        self, tokens: Tokens, sampling: Sampling, said: int = 0
    ) -> Iterator[tuple[int, bytes]]:
        """One token after the other and its bytes, until the model ends its turn.

        The last ``said`` of the tokens are the beginning of the answer.
        """
        # The library treats None as its own default seed, which never changes.
        seed = int.from_bytes(np.random.bytes(4)) if sampling.seed is None else sampling.seed
        self._llama.set_seed((seed + said) & 0xFFFFFFFF)
        generated = self._llama.generate(
            tokens,
            temp=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=0.0,
            repeat_penalty=sampling.repeat_penalty,
            frequency_penalty=sampling.frequency_penalty,
            presence_penalty=sampling.presence_penalty,
        )
        for token in generated:
            if self._lib.llama_vocab_is_eog(self._vocab, token):
                return
            yield token, self._llama.detokenize([token])
