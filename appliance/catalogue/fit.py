"""Whether a model fits: what it will need against what will be free, before anything is unloaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from appliance.catalogue.entries import ModelEntry, Task
from appliance.catalogue.shape import Shape

Place = Literal["ram", "vram"]
KvType = Literal["f16", "q8_0"]
Answer = Literal["fits", "tight", "too_big", "unknown"]

MIB = 1 << 20
GIB = 1 << 30
CONVERSATIONS = 5
"""What the llm keeps at once where nothing else is known: of four calls, and of other programs."""
SAFE_PART = 0.8
"""A prediction up to this part of what will be free fits; up to all of it is tight."""

# A step takes so many tokens of prompts and a few that are said; llama.cpp pads the context.
_STEP_TOKENS: dict[Place, int] = {"ram": 72, "vram": 520}
_PAD_TOKENS = 256
_F32 = 4
# A library on a GPU takes this for itself, in each program.
_CUDA_CONTEXT = 450 * MIB
# Per value; q8_0 keeps 32 of them in 34 bytes.
_KV_PART: dict[KvType, float] = {"f16": 1.0, "q8_0": 34 / 64}
# Whisper's decoder, features and beams beside its weights, measured on a CPU; on a GPU from
# reports of others, which go from 0.4 to 1.3 GiB.
_WHISPER_WORK = {"ram": 145 * MIB, "vram": 1000 * MIB}
_PIPER_WORK = 135 * MIB
# Files on disk are f16; loaded as int8 they take about half.
_INT8_PART = 0.55
_BLIND_PART = 1.25


@dataclass(frozen=True)
class Plan:
    """What a model is to serve."""

    place: Place = "ram"
    context_tokens: int = 4096
    conversations: int = CONVERSATIONS
    int8: bool = False
    kv_type: KvType = "f16"


@dataclass(frozen=True)
class Need:
    """Predicted memory in bytes."""

    place: Place
    weights: int
    kv: int = 0
    work: int = 0
    exact: bool = True
    """False: from the catalogue's rough figure, because the files are not here to be read."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.kv + self.work


@dataclass(frozen=True)
class Line:
    """The language model's need as a line over its context, for a page that slides along it.

    ``fixed + conversations * (state + kv_per_token * tokens) + max(work_least, work_extra +
    work_per_token * tokens)``
    """

    fixed: int
    state: int
    kv_per_token: int
    work_least: int
    work_extra: int
    work_per_token: int


@dataclass(frozen=True)
class Fit:
    """The verdict on one model."""

    answer: Answer
    because: str
    need: int
    free: int
    place: Place


def line_of(shape: Shape, place: Place = "ram") -> Line:
    """How a language model's need grows with its context."""
    step = _STEP_TOKENS[place] * _F32
    return Line(
        fixed=shape.weights + (_CUDA_CONTEXT if place == "vram" else 0),
        state=shape.state,
        kv_per_token=shape.kv_per_token,
        # Either the logits of a step or the attention over the whole context is largest.
        work_least=step * (shape.vocabulary + 2 * shape.width) + shape.vocabulary * _F32,
        work_extra=step * 6 * shape.width,
        work_per_token=step * (shape.heads + 1),
    )


def need_of(shape: Shape, plan: Plan) -> Need:
    """What a model will take, from its own numbers."""
    if shape.task == "llm":
        line = line_of(shape, plan.place)
        tokens = -(-plan.context_tokens // _PAD_TOKENS) * _PAD_TOKENS
        kept = int(line.kv_per_token * tokens * _KV_PART[plan.kv_type])
        kv = plan.conversations * (line.state + kept)
        work = max(line.work_least, line.work_extra + line.work_per_token * tokens)
        return Need(plan.place, shape.weights, kv, work + line.fixed - shape.weights)
    if shape.task == "stt":
        weights = int(shape.weights * _INT8_PART) if plan.int8 else shape.weights
        return Need(plan.place, weights, work=_WHISPER_WORK[plan.place])
    return Need("ram", shape.weights, work=_PIPER_WORK)


def need_by_entry(entry: ModelEntry, plan: Plan) -> Need | None:
    """The catalogue's rough figure for a model that is not here; None if it has none."""
    place: Place = "ram" if entry.task == "tts" else plan.place
    if entry.memory_mb is not None:
        return Need(place, entry.memory_mb * MIB, exact=False)
    return Need(place, int(entry.size * _BLIND_PART), exact=False) if entry.size else None


def judge(need: Need | None, free_after: int) -> Fit:
    """Compare a need with what will be free once the present model is unloaded, in bytes."""
    if need is None:
        return Fit("unknown", "Its need is known once its files are here.", 0, free_after, "ram")
    where = "graphics memory" if need.place == "vram" else "memory"
    about = "" if need.exact else "about "
    said = f"it needs {about}{text(need.total)} of {where} and {text(free_after)} will be free"
    if need.total <= free_after * SAFE_PART:
        answer: Answer = "fits"
        because = f"Fits: {said}."
    elif need.total <= free_after:
        answer = "tight"
        because = f"Tight: {said}; other programs may then run short."
    else:
        answer = "too_big"
        because = f"Does not fit, because {said}."
    return Fit(answer, because, need.total, free_after, need.place)


def text(size: int) -> str:
    """A size for people, e.g. ``1.4 GiB`` or ``230 MiB``."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{max(0, size) / MIB:.0f} MiB"


def place_of(task: Task, *, gpu: bool, stt_device: str, gpu_layers: int) -> Place:
    """Where a task's model lies."""
    if not gpu or task == "tts":
        return "ram"
    if task == "stt":
        return "ram" if stt_device == "cpu" else "vram"
    return "vram" if gpu_layers else "ram"
