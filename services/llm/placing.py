"""The language model put where this machine computes fastest: its card, as far as there is room."""

from __future__ import annotations

import http.client
import socket
from contextlib import closing

from appliance import cuda, logs
from appliance.catalogue import Catalogue
from appliance.catalogue.memory import need_for, place_for
from appliance.catalogue.placing import LEAST_SLOTS, Placing, Wish, on_card, on_processor
from appliance.catalogue.reading import shape_of_installed
from appliance.errors import ApplianceError
from appliance.gpu import Gpu, crowded, reader_of, unusable
from appliance.seats import conversations_of
from appliance.serving.scheduler import described
from appliance.settings import Settings
from services.llm.engine import LlamaEngine

log = logs.get(__name__)

_ASK_S = 2.0


class PlacedEngine(LlamaEngine):
    """The engine with layers, cache and slots as this machine has room for them.

    What the settings ask for and the machine cannot do is the reason why it does not load.
    """

    def __init__(self, settings: Settings) -> None:
        self._refused: ApplianceError | None = None
        try:
            placing = placing_of(settings)
            log.info(
                "placed", gpu_layers=placing.gpu_layers, slots=placing.slots,
                kv_type=placing.kv_type, flash_attn=placing.flash_attn, why=placing.why,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001  here it would end the program, again at each start
            self._refused = _refusal(error)
            # It will not be loaded so; these numbers are for a program that only says why.
            placing = on_processor(Wish(LEAST_SLOTS, settings.llm.context_tokens), "refused")
        super().__init__(
            settings, slots=placing.slots, gpu_layers=placing.gpu_layers, kv_type=placing.kv_type,
            flash_attn=placing.flash_attn, on_gpu=placing.gpu_layers != 0,
        )  # fmt: skip

    def _load(self) -> None:
        if self._refused:
            raise self._refused
        super()._load()


def _refusal(error: Exception) -> ApplianceError:
    if isinstance(error, ApplianceError):
        return error
    log.warning("not_placed", **described(error))
    return ApplianceError(
        "not_placed",
        f"The language model could not be placed on this machine ({type(error).__name__}).",
        "`scripts/appliance logs llm` says where.",
    )


def placing_of(settings: Settings) -> Placing:
    """How the selected model is to lie on this machine now.

    Raises:
        ApplianceError: the settings require a GPU that cannot be used, or the model cannot be read.
    """
    wish = _wish(settings)
    if settings.gpu == "off" or wish.gpu_layers == 0:
        return on_processor(wish, "the settings say so")
    reader = reader_of(settings)
    gpu = reader.read()
    reader.close()
    if why := _why_not(gpu):
        if settings.gpu == "required":
            raise why
        return on_processor(wish, why.message)
    catalogue = Catalogue(settings)
    shape = shape_of_installed(catalogue.installed("llm", catalogue.selected("llm")))
    if gpu.memory_free is None:
        # The card does not tell: as the owner says, and nothing is risked that could be smaller.
        return Placing(wish.gpu_layers, wish.slots, why="the card does not tell what is free")
    whisper, is_ready = _whisper(settings, catalogue, gpu)
    held, promised = (whisper, 0) if is_ready else (0, whisper)
    placing = on_card(shape, wish, gpu.memory_free - promised)
    must = settings.gpu == "required"
    if must and not placing.gpu_layers and (found := crowded(gpu, held)):
        raise ApplianceError("gpu_unusable", found.why, found.hint)
    return placing


def _wish(settings: Settings) -> Wish:
    llm = settings.llm
    return Wish(conversations_of(settings), llm.context_tokens, llm.gpu_layers)


def _why_not(gpu: Gpu) -> ApplianceError | None:
    """Why the model cannot lie on the card; None if it can.

    Raises:
        ApplianceError: llama.cpp lacks a library of CUDA's, and so it runs nowhere.
    """
    if found := unusable(gpu):
        return ApplianceError("gpu_unusable", found.why, found.hint)
    # In the image CUDA's libraries are of another version, and found without help.
    missing = cuda.preload(cuda.LLAMA)
    try:
        import llama_cpp
    except (OSError, RuntimeError) as error:
        log.info("library_not_loaded", missing=missing, why=str(error))
        raise ApplianceError(
            "llama_not_loaded", f"llama.cpp cannot be loaded: {missing or 'a library'} is not there.",
            "Run scripts/setup again.",
        ) from error  # fmt: skip

    if llama_cpp.llama_supports_gpu_offload():
        return None
    return ApplianceError(
        "llama_without_cuda", "llama.cpp was not compiled for this machine's GPU.",
        "Run scripts/setup: it compiles it, or says what is in the way (docs/gpu.md).",
    )  # fmt: skip


def _whisper(settings: Settings, catalogue: Catalogue, gpu: Gpu) -> tuple[int, bool]:
    """Bytes of the card that Whisper takes, and whether it has them: both start at the same time."""
    if settings.stt.url or place_for(settings, "stt", gpu) == "ram":
        return 0, False
    # Without CUDA's libraries it computes on the processor, whatever is free on the card.
    if cuda.preload(cuda.WHISPER):
        return 0, False
    try:
        need = need_for(settings, catalogue, catalogue.selected("stt"), gpu)
    except ApplianceError:
        # It will say itself why it does not start.
        return 0, False
    return (need.total, _is_ready(settings)) if need else (0, False)


def _is_ready(settings: Settings) -> bool:
    """Whether Whisper has loaded, so that its memory is no longer free."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    whisper = http.client.HTTPConnection("localhost")
    whisper.sock = line
    with closing(whisper):
        try:
            line.settimeout(_ASK_S)
            line.connect(str(settings.socket("stt")))
            whisper.request("GET", "/readyz")
            return whisper.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            # Nobody listens yet.
            return False
