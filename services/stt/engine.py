"""The ear's engine: a recording in, passages out."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from appliance import logs
from appliance.catalogue import Catalogue
from appliance.errors import ApplianceError
from appliance.serving import PAUSE, Engine, Pause
from appliance.settings import Settings
from services.stt.decoding import decode
from services.stt.device import Choice, card_of, choose
from services.stt.kept import Kept
from services.stt.vocabulary import RATE_HZ, Finished, Manner, Passage, Samples, Transcribe
from services.stt.whisper import Whisper
from services.stt.windows import windows

log = logs.get(__name__)

_SAMPLE = Path(__file__).with_name("sample.flac")
_SAMPLE_WORDS = frozenset(("he", "was", "not", "an", "ill", "disposed", "young", "man"))
_DEFAULT_THREADS = 2


class WhisperEngine(Engine[Transcribe, Passage | Finished]):
    """Serves one Whisper model.

    Several recordings are under way at once, so that a long file does not hold up a caller;
    the model's turnstile decides whose step is next.
    """

    name: ClassVar[str] = "stt"
    concurrency = 8
    background_at_once = 2

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._model_id = Catalogue(settings).selected("stt")

    def models(self) -> list[str]:
        """The one model that is served."""
        return [self._model_id]

    def _load(self) -> None:
        installed = Catalogue(self._settings).installed("stt", self._model_id)
        weights = installed.files["model"].stat().st_size
        self._kept = Kept(self._settings, self._model_id, weights)
        before = self._kept.take()
        try:
            self._place(installed.folder, choose(self._settings, weights, card_of, before))
        except ApplianceError:
            if not before:
                raise
            # Other programs have taken its room meanwhile.
            self._place(installed.folder, choose(self._settings, weights, card_of))

    def _place(self, folder: Path, choice: Choice) -> None:
        log.info("placed", device=choice.device, computes_in=choice.compute_type, why=choice.why)
        self._choice = choice
        self._whisper = Whisper(
            folder,
            device=choice.device,
            compute_type=choice.compute_type,
            threads=self._settings.stt.threads or min(_DEFAULT_THREADS, os.cpu_count() or 1),
        )

    def _sample(self) -> None:
        with _SAMPLE.open("rb") as audio:
            request = Transcribe(audio, Manner(language="en"))
            chunks = list(self._run(request, threading.Event()))
        said = " ".join(c.text for c in chunks if isinstance(c, Passage))
        known = {word.strip(".,!?").lower() for word in said.replace("-", " ").split()}
        if 2 * len(known & _SAMPLE_WORDS) < len(_SAMPLE_WORDS):
            raise ApplianceError(
                "model_implausible",
                f"The model {self._model_id} loads, but does not hear what is said.",
                "Check its files: scripts/appliance models verify.",
            )
        self._kept.keep(self._choice)

    def _run(
        self, request: Transcribe, stop: threading.Event
    ) -> Iterator[Passage | Finished | Pause]:
        with request.audio:
            self._whisper.check(request.manner)
            recording = _Recording(request, self._settings.stt.max_audio_s, stop)
            manner = request.manner
            # Live callers first, and of one rank a beginning before another's later windows.
            place = self._whisper.request(2 * request.rank, stop)
            place.expect()
            try:
                for window in windows(recording.blocks(), self._whisper.find_speech):
                    yield PAUSE
                    passage = self._whisper.recognise(window, manner, place, request.room)
                    if passage is None:
                        return
                    place = self._whisper.request(2 * request.rank + 1, stop)
                    if passage.text:
                        # One recording, one language: what the first words say holds for the rest.
                        manner = replace(manner, language=passage.language)
                        yield passage
            finally:
                place.over()
            if not stop.is_set():
                yield Finished(recording.size / RATE_HZ)


class _Recording:
    """Counts a recording's samples as they are decoded; ends early when stopped."""

    def __init__(self, request: Transcribe, max_audio_s: float, stop: threading.Event) -> None:
        self._request = request
        self._max_audio_s = max_audio_s
        self._stop = stop
        self.size = 0

    def blocks(self) -> Iterator[Samples]:
        for block in decode(self._request.audio, self._max_audio_s):
            if self._stop.is_set():
                return
            self.size += block.size
            yield block
