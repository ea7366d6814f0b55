"""Where Whisper computes, and in which numbers: the settings' wish against what is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliance import cuda
from appliance.catalogue.fit import Plan, need_of, text
from appliance.catalogue.placing import usable_of
from appliance.catalogue.shape import Shape
from appliance.errors import ApplianceError
from appliance.gpu import reader_of, unusable
from appliance.settings import Settings

# The best first. int8 halves the weights for words that are as good; what computes in float32
# is for cards from before 2017.
_ROOMY = ("float16", "int8_float16", "int8_float32", "float32")
_NARROW = ("int8_float16", "int8_float32", "float16", "float32")


@dataclass(frozen=True)
class Card:
    """What a graphics card offers to Whisper.

    Attributes:
        why_not: why it cannot be used; empty if it can.
        hint: what then to do.
        free: bytes; None: it does not tell.
        computes: the compute types that CTranslate2 has on it.
    """

    why_not: str = ""
    hint: str = ""
    free: int | None = None
    computes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Choice:
    """Where Whisper runs, and a sentence about why there."""

    device: str
    compute_type: str
    why: str


def card_of(settings: Settings) -> Card:
    """What this machine's card offers; loads CUDA's libraries, if it can be used."""
    reader = reader_of(settings)
    gpu = reader.read()
    reader.close()
    if found := unusable(gpu):
        return Card(found.why, found.hint)
    import ctranslate2

    if not ctranslate2.get_cuda_device_count():
        return Card("CTranslate2 finds no card, though the driver does.", "Restart the machine.")
    if missing := cuda.preload(cuda.WHISPER):
        return Card(f"CUDA's library {missing} is not there.", "Run scripts/setup.")
    computes = ctranslate2.get_supported_compute_types("cuda")
    return Card(free=gpu.memory_free, computes=frozenset(computes))


def choose(settings: Settings, weights: int, look: Callable[[Settings], Card]) -> Choice:
    """Where to load the model, and how.

    Args:
        settings: what is wished for.
        weights: bytes of the model's file.
        look: what is there; not asked where it does not matter.

    Raises:
        ApplianceError: the settings ask for what this machine cannot do.
    """
    stt = settings.stt
    if settings.gpu == "off" or stt.device == "cpu":
        return _on_processor(settings, "the settings say so")
    card = look(settings)
    must = settings.gpu == "required" or stt.device == "cuda"
    if card.why_not:
        if must:
            raise ApplianceError(
                "gpu_unusable", f"Whisper is to run on the GPU and cannot: {card.why_not}",
                card.hint,
            )  # fmt: skip
        return _on_processor(settings, card.why_not)
    small = _need(weights, int8=True)
    if not must and card.free is not None and small > usable_of(card.free):
        free = text(card.free)
        return _on_processor(settings, f"{free} of graphics memory are free, {text(small)} needed")
    if stt.compute_type == "auto":
        return Choice("cuda", _best(weights, card), "there is a card")
    if stt.compute_type not in card.computes:
        raise ApplianceError(
            "compute_type_unsupported",
            f"This GPU does not compute in {stt.compute_type}; it does in {', '.join(sorted(card.computes))}.",
            "Set stt.compute_type to auto.",
        )  # fmt: skip
    return Choice("cuda", stt.compute_type, "there is a card")


def _need(weights: int, *, int8: bool) -> int:
    return need_of(Shape(task="stt", weights=weights), Plan("vram", int8=int8)).total


def _best(weights: int, card: Card) -> str:
    is_roomy = card.free is None or _need(weights, int8=False) <= usable_of(card.free)
    order = _ROOMY if is_roomy else _NARROW
    return next((one for one in order if one in card.computes), "float32")


def _on_processor(settings: Settings, why: str) -> Choice:
    wished = settings.stt.compute_type
    return Choice("cpu", "int8" if wished == "auto" else wished, why)
