"""A GGUF model's words: its template, its tokens, and what each token spells."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance import logs
from appliance.errors import ApplianceError, BadInput
from services.llm.answer import BEGINNINGS, MARKS
from services.llm.prompt import Tokens, has_endless_word, without_system
from services.llm.vocabulary import Message

log = logs.get(__name__)

_ALL_LAYERS = 0x7FFFFFFF
_PIECE_BYTES = 256
_OPEN_THOUGHT = "<think>"
_NO_THOUGHT = "\n</think>\n\n"
_INSTRUCTIONS = "Answer briefly."


class Model:
    """One GGUF model as it lies in memory; it keeps nothing of any conversation.

    Loading and closing belong to the thread that computes. The rest only reads, and any thread
    may call it.
    """

    def __init__(self, model_id: str, file: Path, *, gpu_layers: int) -> None:
        import llama_cpp
        from llama_cpp._logger import set_verbose

        self.lib: Any = llama_cpp
        set_verbose(False)
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = _ALL_LAYERS if gpu_layers < 0 else gpu_layers
        if llama_cpp.llama_supports_gpu_offload():
            # Several cards would else share the layers; what is free was read of the first alone.
            params.split_mode = llama_cpp.LLAMA_SPLIT_MODE_NONE
        self.handle: Any = llama_cpp.llama_model_load_from_file(str(file).encode(), params)
        if not self.handle:
            raise unreadable(model_id)
        self._vocab = llama_cpp.llama_model_get_vocab(self.handle)
        self.tokens: int = llama_cpp.llama_vocab_n_tokens(self._vocab)
        """Size of its vocabulary."""
        self.trained_tokens: int = llama_cpp.llama_model_n_ctx_train(self.handle)
        self.near_tokens: int = llama_cpp.llama_model_n_swa(self.handle)
        """Sliding window of some of its layers; 0: none."""
        self.is_recurrent: bool = bool(
            llama_cpp.llama_model_is_recurrent(self.handle)
            or llama_cpp.llama_model_is_hybrid(self.handle)
        )
        is_end, is_control = llama_cpp.llama_vocab_is_eog, llama_cpp.llama_vocab_is_control
        every = range(self.tokens)
        self.ends = frozenset(token for token in every if is_end(self._vocab, token))
        """Tokens with which it ends its turn."""
        self._control = _any_of(self._text_of(t) for t in every if is_control(self._vocab, t))
        texts = [self._raw_text_of(token) for token in every]
        self.may_think = any(begin.encode() in texts for begin in BEGINNINGS)
        """Whether its vocabulary has a word with which thinking begins."""
        # A token spells at most as many characters as its name has bytes.
        self._longest = max(map(len, texts))
        self._pieces: dict[int, bytes] = {}
        try:
            self._template = self._read_template(model_id)
            self._takes_system = self._shows_system()
        except ApplianceError:
            self.close()
            raise

    def close(self) -> None:
        """Give its memory back."""
        handle, self.handle = self.handle, None
        if handle:
            self.lib.llama_model_free(handle)

    def _read_template(self, model_id: str) -> Any:
        from jinja2 import TemplateError
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        template = self.lib.llama_model_chat_template(self.handle, None)
        if not template:
            raise ApplianceError(
                "model_without_template", f"The model {model_id!r} has no chat template.",
                "Choose an instruction-tuned model.",
            )  # fmt: skip
        # Sandboxed: a template is a program from the model's file.
        try:
            return Jinja2ChatFormatter(
                template.decode("utf-8", "replace"),
                eos_token=self._text_of(self.lib.llama_vocab_eos(self._vocab)),
                bos_token=self._text_of(self.lib.llama_vocab_bos(self._vocab)),
            )
        except TemplateError as error:
            raise ApplianceError(
                "model_template_broken", f"The chat template of {model_id!r} cannot be read.",
                "Choose another file of this model.",
            ) from error  # fmt: skip

    def _text_of(self, token: int) -> str:
        return "" if token < 0 else self._raw_text_of(token).decode("utf-8", "replace")

    def _raw_text_of(self, token: int) -> bytes:
        found: bytes = self.lib.llama_vocab_get_text(self._vocab, token)
        return found

    def _shows_system(self) -> bool:
        # Some templates raise on a system's message, as Gemma 2's; others leave it out.
        told = (Message("system", _INSTRUCTIONS), Message("user", "Hello."))
        try:
            return _INSTRUCTIONS in self._prompt(told)
        except Exception:  # noqa: BLE001  a template may raise anything
            return False

    def _prompt(self, messages: Sequence[Message]) -> str:
        shown = [{"role": m.role, "content": self._harmless(m.text)} for m in messages]
        return without_thought(str(self._template(messages=shown, enable_thinking=False).prompt))

    def render(self, messages: Sequence[Message], most_tokens: int) -> Tokens | None:
        """The conversation as tokens, up to where the assistant is to speak.

        Returns:
            None: it is longer than any ``most_tokens`` tokens, or has a word that would be the
            end of this program.

        Raises:
            BadInput: the model's template does not take these messages.
        """
        try:
            prompt = self._prompt(messages if self._takes_system else without_system(messages))
        except Exception as error:
            # A template is a program from the model's file; it may raise anything.
            log.info("template_refused", error=type(error).__name__)
            raise BadInput(
                "messages_refused", "The model's template does not take these messages.",
                "Start with a system or user message and end with a user message.",
            ) from error  # fmt: skip
        # Tokenising takes seconds for some megabytes, and a stack as deep as the longest word.
        if len(prompt) > most_tokens * self._longest or has_endless_word(prompt):
            return None
        return self.tokenize(prompt)

    def tokenize(self, text: str) -> Tokens:
        """A text as tokens; the names of control tokens in it become those."""
        data = text.encode()
        return self._tokenized(data, len(data) + 2)

    def _tokenized(self, data: bytes, size: int) -> Tokens:
        found = (ctypes.c_int32 * size)()
        count = self.lib.llama_tokenize(self._vocab, data, len(data), found, size, False, True)
        # More tokens than bytes: in some vocabularies a blank is a sign of three.
        return self._tokenized(data, -count) if count < 0 else list(found[:count])

    def _harmless(self, text: str) -> str:
        # What a caller types must not end his own turn and speak as the system.
        return self._control.sub(" ", text) if self._control else text

    def piece(self, token: int) -> bytes:
        """What a token spells; nothing for a control token but one with which thinking begins or ends."""
        found = self._pieces.get(token)
        if found is None:
            found = self._pieces[token] = self._spell(token, _PIECE_BYTES)
        return found

    def _spell(self, token: int, size: int) -> bytes:
        room, is_mark = ctypes.create_string_buffer(size), self._text_of(token) in MARKS
        count = self.lib.llama_token_to_piece(self._vocab, token, room, size, 0, is_mark)
        return self._spell(token, -count) if count < 0 else room.raw[:count]


def without_thought(prompt: str) -> str:
    """A prompt that leaves no thinking open: some templates begin it whatever they are told."""
    bare = prompt.rstrip()
    return bare + _NO_THOUGHT if bare.endswith(_OPEN_THOUGHT) else prompt


def unreadable(model_id: str) -> ApplianceError:
    """The error of a model that the library does not load."""
    return ApplianceError(
        "model_unreadable", f"The language model {model_id!r} cannot be loaded.",
        f"`scripts/appliance models verify {model_id}` checks its file; too little memory "
        "is the other usual cause.",
    )  # fmt: skip


def _any_of(texts: Any) -> re.Pattern[str] | None:
    found = sorted((text for text in texts if len(text) > 2), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, found))) if found else None
