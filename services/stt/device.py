"""Where Whisper computes, and in which numbers: the settings' wish against what is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliance import cuda
from appliance.catalogue.fit import MIB, Need, Plan, need_of, text
from appliance.catalogue.placing import usable_of
from appliance.catalogue.shape import Shape
from appliance.errors import ApplianceError
from appliance.gpu import reader_of, unusable
from appliance.settings import Settings

# The best first. int8 halves the weights for words that are as good; what computes in float32
# is for cards from before 2017.
_ROOMY = ("float16", "int8_float16", "int8_float32", "float32")
_NARROW = ("int8_float16", "int8_float32", "float16", "float32")
# CUDA takes this for a program that has loaded nothing.
_BARE = 256 * MIB


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


def choose(
    settings: Settings, weights: int, look: Callable[[Settings], Card], before: str = ""
) -> Choice:
    """Where to load the model, and how.

    Args:
        settings: what is wished for.
        weights: bytes of the model's file.
        look: what is there; not asked where it does not matter.
        before: the compute type in which this model has been on the card since the box was
            started. Its room is still kept for it, and may be less than was predicted.

    Raises:
        ApplianceError: the settings ask for what this machine cannot do.
    """
    stt = settings.stt
    if settings.gpu == "off" or stt.device == "cpu":
        return _on_processor(settings, "the settings say so")
    card = look(settings)
    int8 = before.startswith("int8")
    if before and not card.why_not and _may_load(weights, card, int8=int8):
        return Choice("cuda", before, "it was there before")
    if settings.gpu == "required" or stt.device == "cuda":
        _require(weights, card)
    elif why := _why_rather_not(weights, card):
        return _on_processor(settings, why)
    if stt.compute_type == "auto":
        return Choice("cuda", _best(weights, card), "there is a card")
    if stt.compute_type not in card.computes:
        raise ApplianceError(
            "compute_type_unsupported",
            f"This GPU does not compute in {stt.compute_type}; it does in {', '.join(sorted(card.computes))}.",
            "Set stt.compute_type to auto.",
        )  # fmt: skip
    return Choice("cuda", stt.compute_type, "there is a card")


def _require(weights: int, card: Card) -> None:
    """Refuse a card that cannot be used, or on which the model surely does not load."""
    why, hint = card.why_not, card.hint
    if not why and not _may_load(weights, card, int8=True):
        why = f"only {text(card.free or 0)} of graphics memory are free."
        hint = "End what else uses it (nvidia-smi lists it), or choose a smaller model."
    if why:
        raise ApplianceError(
            "gpu_unusable", f"Whisper is to run on the GPU and cannot: {why}", hint
        )  # fmt: skip


def _why_rather_not(weights: int, card: Card) -> str:
    """Why the model had better not lie on this card; empty if it may."""
    small = _need(weights, int8=True).total
    if not card.why_not and card.free is not None and small > usable_of(card.free):
        return f"{text(card.free)} of graphics memory are free, {text(small)} needed"
    return card.why_not


def _may_load(weights: int, card: Card, *, int8: bool) -> bool:
    """Whether the weights at least have room."""
    return card.free is None or _need(weights, int8=int8).weights + _BARE <= card.free


def _need(weights: int, *, int8: bool) -> Need:
    return need_of(Shape(task="stt", weights=weights), Plan("vram", int8=int8))


def _best(weights: int, card: Card) -> str:
    is_roomy = card.free is None or _need(weights, int8=False).total <= usable_of(card.free)
    order = _ROOMY if is_roomy else _NARROW
    return next((one for one in order if one in card.computes), "float32")


def _on_processor(settings: Settings, why: str) -> Choice:
    wished = settings.stt.compute_type
    return Choice("cpu", "int8" if wished == "auto" else wished, why)
