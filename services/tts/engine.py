"""The voice's engine: a text in, bytes of sound out as they are made."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from appliance.audio import Pcm, Samples, StreamResampler, encode_audio, to_s16le, wav_header
from appliance.errors import ApplianceError
from appliance.serving import PAUSE, Engine, Pause, Priority
from appliance.settings import Settings
from services.tts.cores import Order
from services.tts.pacing import Lead
from services.tts.repeats import Repeats
from services.tts.start import Start
from services.tts.text import pieces, speakable
from services.tts.vocabulary import RATE_HZ, Speak
from services.tts.voice import Voice
from services.tts.voices import Voices

SILENCE_S = 0.1
"""Answer to a text that has no sound, e.g. an emoji."""

_REQUESTS_A_CORE = 4
_SAMPLE_TEXT = "Hello there."
_SAMPLE_LENGTH_S = (0.3, 5.0)
_SAMPLE_RMS = 0.003


class PiperEngine(Engine[Speak, bytes]):
    """Serves every installed Piper voice; the selected one is loaded at the start."""

    name: ClassVar[str] = "tts"

    def __init__(self, settings: Settings) -> None:
        # The sentences of many requests take turns on the cores, so that none waits for the whole
        # of another's before its first sound.
        self.concurrency = settings.tts.workers * _REQUESTS_A_CORE
        self._voices = Voices(settings)
        self._gain = settings.tts.gain
        self._repeats = Repeats(settings.tts.cache_mb << 20)

    def models(self) -> list[str]:
        """Ids of the installed voices."""
        return self._voices.installed()

    def _load(self) -> None:
        self._voices.get(self._voices.selected)

    def _sample(self) -> None:
        request = Speak(_SAMPLE_TEXT, self._voices.selected)
        parts = self._run(request, threading.Event())
        sound = Pcm.from_s16le(b"".join(p for p in parts if isinstance(p, bytes)), RATE_HZ)
        shortest, longest = _SAMPLE_LENGTH_S
        loudness = float(np.sqrt(np.mean(np.square(sound.samples))))
        if not (shortest < sound.duration_s < longest and loudness > _SAMPLE_RMS):
            raise ApplianceError(
                "voice_silent", "The voice was loaded, but a sample of it is not speech.",
                "`scripts/appliance models verify` checks its files.",
            )  # fmt: skip

    def _run(self, request: Speak, stop: threading.Event) -> Iterator[bytes | Pause]:
        kind = request.kind
        order = Order(request.rank, kind in ("pcm", "wav"), Lead(), stop)
        sound = self._sound(request, order)
        if kind == "pcm":
            yield from map(to_s16le, sound)
        elif kind == "wav":
            # The header goes with the first samples: before them, an error still has a status.
            head = wav_header(RATE_HZ)
            for samples in sound:
                yield head + to_s16le(samples)
                head = b""
        else:
            parts: list[Samples] = []
            for samples in sound:
                parts.append(samples)
                yield PAUSE
            if not stop.is_set():
                yield encode_audio(Pcm(np.concatenate(parts), RATE_HZ), kind)

    def _sound(self, request: Speak, order: Order) -> Iterator[Samples]:
        """Samples at 24 kHz as they are made; never nothing at all, unless stopped."""
        voice = self._voices.get(request.voice or self._voices.selected)
        resampler = StreamResampler(voice.rate_hz, RATE_HZ)
        start, made = Start(voice.rate_hz, self._gain), 0
        for piece in pieces(speakable(request.text)):
            for samples in self._spoken(voice, piece, request, order):
                if order.stop.is_set():
                    return
                ready = resampler.push(start.after(samples))
                made += len(ready)
                order.lead.sent(len(ready) / RATE_HZ)
                if len(ready):
                    yield ready
        rest = np.concatenate([resampler.push(start.rest()), resampler.flush()])
        yield rest if made + len(rest) else np.zeros(round(SILENCE_S * RATE_HZ), np.float32)

    def _spoken(self, voice: Voice, piece: str, request: Speak, order: Order) -> Iterator[Samples]:
        """One sentence: as it was spoken before, or as it is made now."""
        key = self._repeats.key(voice.id, request.speed, piece)
        known = self._repeats.get(key)
        if known is not None:
            yield known
            return
        parts: list[Samples] = []
        for samples in voice.speak(piece, request.speed, order):
            parts.append(samples)
            yield samples
        # A book that is read aloud would push out what callers hear again and again.
        if parts and not order.stop.is_set() and request.rank.priority is not Priority.BACKGROUND:
            self._repeats.put(key, np.concatenate(parts))
