"""Piper voices, loaded when first asked for; the last few stay in memory."""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appliance import logs
from appliance.audio import Samples
from appliance.catalogue import Catalogue
from appliance.errors import ApplianceError, NotFound
from appliance.settings import Settings

log = logs.get(__name__)

_KEPT = 3


class Voice:
    """One loaded voice. May be used by several threads at once."""

    def __init__(self, voice_id: str, model: Path, config: Path, gain: float) -> None:
        import onnxruntime
        from piper import PiperVoice
        from piper.config import PiperConfig

        # Below info Piper logs what is said.
        logging.getLogger("piper").setLevel(logging.WARNING)
        # One thread a sentence: two callers on one two-thread session take 2.3 times as long.
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            described = json.loads(config.read_text(encoding="utf-8"))
            session = onnxruntime.InferenceSession(
                str(model), sess_options=options, providers=["CPUExecutionProvider"]
            )
            self._piper = PiperVoice(config=PiperConfig.from_dict(described), session=session)
        except Exception as error:
            # onnxruntime's errors share no base class of their own.
            log.error("voice_unreadable", voice=voice_id, error=type(error).__name__)
            raise ApplianceError(
                "voice_unreadable", f"The voice {voice_id!r} cannot be loaded.",
                f"`scripts/appliance models verify {voice_id}` checks its files.",
            ) from error  # fmt: skip
        self.rate_hz: int = self._piper.config.sample_rate
        self._gain = gain

    def speak(self, text: str, speed: float) -> Iterator[Samples]:
        """Samples at the voice's own rate, sentence by sentence, made as they are asked for."""
        from piper import SynthesisConfig

        # Piper's own normalising would lift every clause to the same peak.
        how = SynthesisConfig(
            normalize_audio=False,
            volume=self._gain,
            length_scale=self._piper.config.length_scale / speed,
        )
        chunk: Any
        for chunk in self._piper.synthesize(text, how):
            yield chunk.audio_float_array


class Voices:
    """The installed voices by id."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._catalogue = Catalogue(settings)
        self._loaded: OrderedDict[str, Voice] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def selected(self) -> str:
        """Id of the voice of a request that names none."""
        return self._catalogue.selected("tts")

    def installed(self) -> list[str]:
        """Ids of every voice that could be asked for."""
        return [model.id for model in self._catalogue.all_installed() if model.task == "tts"]

    def get(self, voice_id: str) -> Voice:
        """A voice, loaded if need be.

        Raises:
            NotFound: no such voice is installed.
            ApplianceError: its files cannot be used.
        """
        # One at a time: the second asker of a new voice waits instead of loading it again.
        with self._lock:
            if voice_id not in self._loaded:
                self._loaded[voice_id] = self._load(voice_id)
                if len(self._loaded) > _KEPT:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(voice_id)
            return self._loaded[voice_id]

    def _load(self, voice_id: str) -> Voice:
        try:
            files = self._catalogue.installed("tts", voice_id).files
        except NotFound as error:
            others = ", ".join(self.installed()) or "none"
            raise NotFound(
                "voice_not_found", f"There is no voice {voice_id!r} here.",
                f"Installed voices: {others}. {error.hint}",
            ) from error  # fmt: skip
        return Voice(voice_id, files["model"], files["config"], self._settings.tts.gain)
