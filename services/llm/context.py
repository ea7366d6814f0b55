"""llama.cpp's context: many conversations beside each other, read and continued in one step."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from appliance import logs
from appliance.catalogue.fit import KvType
from appliance.catalogue.placing import FlashAttention
from services.llm.model import Model, unreadable

log = logs.get(__name__)

_KV_TYPES: dict[KvType, int] = {"f16": 1, "q8_0": 8}
_FLASH: dict[FlashAttention, int] = {"auto": -1, "on": 1}

Ids = npt.NDArray[np.int32]
Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Plan:
    """What a context is made for."""

    sequences: int
    """Conversations that have a place in it."""
    context_tokens: int
    """Of each conversation."""
    threads: int
    step_tokens: int
    """Tokens of prompts that are read in one step."""
    kv_type: KvType = "f16"
    """Other than ``f16`` it needs flash attention."""
    flash_attn: FlashAttention = "auto"
    swa_full: bool = True
    """Sliding-window layers keep everything, too: a conversation can be cut back at any place."""
    likeliest: int = 0
    """So many tokens are chosen in llama.cpp's graph, where the logits are made, and only they come
    back; 0: all logits do."""


class Row(NamedTuple):
    """Tokens that one conversation brings to a step."""

    sequence: int
    start: int
    """Where in the conversation they stand."""
    tokens: Ids
    wants_logits: bool
    """Whether the next token will be picked after the last of them."""


class Context:
    """The conversations' cache and the batch. All calls come from the thread that made it."""

    def __init__(self, model_id: str, model: Model, plan: Plan) -> None:
        lib = self._lib = model.lib
        params = lib.llama_context_default_params()
        params.n_seq_max = plan.sequences
        params.n_ctx = plan.context_tokens * plan.sequences
        params.n_batch = params.n_ubatch = plan.step_tokens + plan.sequences
        params.n_threads = params.n_threads_batch = plan.threads
        # Each conversation has its own part: none can starve another, and a step is quicker.
        params.kv_unified = False
        params.swa_full = plan.swa_full
        params.type_k = params.type_v = _KV_TYPES[plan.kv_type]
        params.flash_attn_type = _FLASH[plan.flash_attn]
        params.no_perf = True
        self._handle = lib.llama_init_from_model(model.handle, params)
        if not self._handle:
            raise unreadable(model_id)
        self._memory = lib.llama_get_memory(self._handle)
        self._near_tokens = model.near_tokens
        self.can_copy = not model.is_recurrent
        """Whether a conversation's beginning can be copied to another."""
        own = int(lib.llama_n_ctx_seq(self._handle))
        self.window_tokens = min(own, model.trained_tokens or own)
        """Longest conversation."""
        self._batch = _Batch(lib, int(params.n_batch))
        self._vocabulary = model.tokens
        self._all = _outputs(lib, "llama_get_logits", ctypes.c_void_p, [])
        self._rows: npt.NDArray[np.float32] | None = None
        self._found = _outputs(lib, "llama_get_sampled_logits_ith", ctypes.c_void_p)
        self._found_ids = _outputs(lib, "llama_get_sampled_candidates_ith", ctypes.c_void_p)
        self._found_count = _outputs(lib, "llama_get_sampled_logits_count_ith", ctypes.c_uint32)
        self._views: dict[tuple[int, int], npt.NDArray[Any]] = {}
        self._raw = ctypes.cast(self._handle, ctypes.c_void_p)
        self._samplers = self._in_graph(plan) if plan.likeliest else []

    def close(self) -> None:
        """Give its memory back."""
        handle, self._handle = self._handle, None
        if handle:
            self._views.clear()
            self._lib.llama_free(handle)
            for sampler in self._samplers:
                self._lib.llama_sampler_free(sampler)

    def decode(self, rows: list[Row]) -> int:
        """One step.

        Returns:
            0: done. 1: a conversation has no room. Anything else: the library failed. What was
            read by then is unknown after a failure: cut each conversation back.
        """
        self._batch.fill(rows)
        self._rows = None
        return self._compute()

    def _compute(self) -> int:
        return int(self._lib.llama_decode(self._handle, self._batch.struct))

    def logits(self, position: int) -> tuple[Logits, Ids | None]:
        """How likely tokens are after the batch's token at ``position``; good until the next step.

        Returns:
            Their logits, and which tokens they are, in no order; None: the whole vocabulary.
        """
        if not self._samplers:
            # Asked once a step: the library looks at all its devices each time.
            if self._rows is None:
                count = len(self._batch.outputs)
                found = self._view(self._all(self._raw), count * self._vocabulary, ctypes.c_float)
                self._rows = found.reshape(count, -1)
            return self._rows[self._batch.outputs.index(position)], None
        count = self._found_count(self._raw, position)
        return (
            self._view(self._found(self._raw, position), count, ctypes.c_float),
            self._view(self._found_ids(self._raw, position), count, ctypes.c_int32),
        )

    def _view(self, address: int, count: int, kind: Any) -> npt.NDArray[Any]:
        found = self._views.get((address, count))
        if found is None:
            array = np.ctypeslib.as_array((kind * count).from_address(address))
            found = self._views[address, count] = array
        return found

    def _in_graph(self, plan: Plan) -> list[Any]:
        """One sampler for each conversation; none where the library does not take them all."""
        lib, samplers, count = self._lib, list[Any](), min(plan.likeliest, self._vocabulary)
        for sequence in range(plan.sequences):
            chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
            lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_top_k(count))
            samplers.append(chain)
            if not lib.llama_set_sampler(self._handle, sequence, chain):
                break
        else:
            return samplers
        log.info("not_sampled_in_graph")
        for sequence, sampler in enumerate(samplers):
            lib.llama_set_sampler(self._handle, sequence, None)
            lib.llama_sampler_free(sampler)
        return []

    def cut(self, sequence: int, keep: int) -> int:
        """Forget a conversation after its first ``keep`` tokens.

        Returns:
            How many of them are left: ``keep``, or 0 where the model cannot forget a part.
        """
        if keep and self._lib.llama_memory_seq_rm(self._memory, sequence, keep, -1):
            # A sliding window may have let go of what the tokens before the cut would look at.
            first = self._lib.llama_memory_seq_pos_min(self._memory, sequence)
            if not self._near_tokens or 0 <= first <= max(0, keep - self._near_tokens):
                return keep
        self._lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        return 0

    def copy(self, source: int, target: int) -> None:
        """Put one conversation in another's place; of separate caches only whole ones are copied."""
        self._lib.llama_memory_seq_rm(self._memory, target, -1, -1)
        self._lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)


def _outputs(
    lib: Any, name: str, returns: Any, takes: Sequence[Any] = (ctypes.c_int32,)
) -> Callable[..., Any]:
    """A getter of the library's with addresses: its own binding makes a new pointer object each time."""
    found: Any = lib.llama_cpp._lib[name]  # noqa: SLF001  the library offers no other way
    found.restype, found.argtypes = returns, [ctypes.c_void_p, *takes]
    getter: Callable[..., Any] = found
    return getter


class _Batch:
    """The library's batch over arrays of ours: filling it is a few assignments."""

    def __init__(self, lib: Any, size: int) -> None:
        self._tokens = np.zeros(size, np.int32)
        self._positions = np.zeros(size, np.int32)
        self._counts = np.ones(size, np.int32)
        self._sequences = np.zeros(size, np.int32)
        self._wanted = np.zeros(size, np.int8)
        # Each token names its sequences by a pointer; here to its place in one array.
        self._pointers = self._sequences.ctypes.data + 4 * np.arange(size, dtype=np.uintp)
        self.outputs: list[int] = []
        """After which of its tokens the next ones are picked."""
        batch = self.struct = lib.llama_batch()
        for field, array in (
            ("token", self._tokens), ("pos", self._positions), ("n_seq_id", self._counts),
            ("seq_id", self._pointers), ("logits", self._wanted),
        ):  # fmt: skip
            kind = dict(batch._fields_)[field]
            setattr(batch, field, ctypes.cast(array.ctypes.data, kind))

    def fill(self, rows: list[Row]) -> None:
        at = 0
        self.outputs = []
        for sequence, start, tokens, wants_logits in rows:
            count = len(tokens)
            if wants_logits:
                self.outputs.append(at + count - 1)
            if count == 1:
                self._tokens[at], self._positions[at] = tokens[0], start
                self._sequences[at], self._wanted[at] = sequence, wants_logits
                at += 1
                continue
            end = at + count
            self._tokens[at:end] = tokens
            self._positions[at:end] = np.arange(start, start + count)
            self._sequences[at:end] = sequence
            self._wanted[at:end] = 0
            self._wanted[end - 1] = wants_logits
            at = end
        self.struct.n_tokens = at
