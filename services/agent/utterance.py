"""One stretch of speech between two pauses, or a piece of a long one: its partial, speculative and final transcripts."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from livekit.agents import APIError, stt, vad

from appliance import logs

if TYPE_CHECKING:
    from services.agent.ear import Ear

log = logs.get(__name__)

RATE_HZ = 16000
# The detector's window; its events tell of the silence before the window they carry.
_WINDOW_S = 0.032
# Below this a window of running speech is silence; the detector's own rule.
_VOICED = 0.35
# Shorter than any syllable that goes on with a sentence, longer than a click.
_VOICE_S = 0.19
# Whisper hears 30 s at once.
_LONGEST_S = 28.0
_PARTIAL_EVERY_S = 0.7
# Somebody waits to fall silent: a word of one syllable is over by then.
_HURRIED_PARTIAL_EVERY_S = 0.3
# Most pauses within words are over by then; later, and the detector has said that it is one.
_PRESSED_AFTER_S = 0.2
_LONGEST_PARTIAL_S = 25.0
# Four times the last one's cost, so that partials never take more than a fifth of the service.
_PARTIAL_REST = 4.0


@dataclass(frozen=True)
class Heard:
    """What the stt service made of a sound.

    Attributes:
        text: empty if there are no words.
        confidence: geometric mean of the tokens' probabilities; 1 if the service does not tell.
    """

    text: str
    confidence: float = 1.0


NOTHING = Heard("")
Teller = Callable[[stt.SpeechEventType, Heard], None]


class Utterance:
    """One stretch of speech between two pauses, or a piece of a long one.

    Args:
        ear: whose.
        tell: takes the transcripts that are not final.
        goes_on: whether it is the rest of a stretch that was too long.

    Attributes:
        voiced_s: voice in a rest, in seconds; infinite where the detector has counted it.
    """

    def __init__(self, ear: Ear, tell: Teller, *, goes_on: bool = False) -> None:
        self._ear = ear
        # The rest of a stretch may be nothing but its last silence, in which models hear words.
        self.voiced_s = 0.0 if goes_on else math.inf
        self._tell = tell
        self._run_s = 0.0
        self._pcm = bytearray()
        self._guess: asyncio.Task[Heard | None] | None = None
        self._partial: asyncio.Task[None] | None = None
        self._every_s = _HURRIED_PARTIAL_EVERY_S if ear.is_hurried() else _PARTIAL_EVERY_S
        self._next_partial = time.monotonic() + self._every_s

    @property
    def is_full(self) -> bool:
        """Whether it is as long as a transcript may be."""
        return len(self._pcm) / 2 / RATE_HZ >= _LONGEST_S

    def add(self, event: vad.VADEvent) -> None:
        """Keep the window's sound."""
        for frame in event.frames:
            self._pcm += frame.data.tobytes()

    def window(self, event: vad.VADEvent) -> None:
        """Take a window; ask for a guess in a pause and for a partial in running speech."""
        self.add(event)
        if event.probability > _VOICED:
            self.voiced_s += _WINDOW_S
            self._drop_guess()
            self._count_voice()
            self._ask_partial()
            return
        self._run_s = 0.0
        # A partial would take the service from the guess that is about to be asked for.
        self._drop_partial()
        silence_s = event.raw_accumulated_silence + _WINDOW_S
        if not self.voiced_s or self._guess is not None:
            return
        speculation = self._ear.events.speculation
        after_s = self._ear.speculate_after_s
        if speculation.is_pressed:
            after_s = max(after_s, _PRESSED_AFTER_S)
        if silence_s >= after_s - 1e-6:
            speculation.begin("transcript")
            self._guess = asyncio.create_task(self._ask_guess(), name="listening.guess")

    async def heard(self) -> Heard:
        """What is final: the guess if it held, else a new live request; nothing if nobody spoke.

        Raises:
            APIError: the service failed.
        """
        self._drop_partial()
        if not self.voiced_s:
            return NOTHING
        try:
            guess = await self._guess if self._guess is not None else None
        except APIError:
            guess = None
        if guess is None:
            guess = await self._ear.transcribe(bytes(self._pcm), "live")
            self._ear.events.on_transcript()
        else:
            self._ear.events.speculation.use("transcript")
        return guess or NOTHING

    def drop(self) -> None:
        """Stop all work on it."""
        self._drop_guess()
        self._drop_partial()

    async def _ask_guess(self) -> Heard | None:
        heard = await self._ear.transcribe(bytes(self._pcm), "speculative")
        if heard and heard.text:
            self._ear.events.on_transcript()
            if self._ear.events.speculation.may_answer(heard.text):
                self._tell(stt.SpeechEventType.PREFLIGHT_TRANSCRIPT, heard)
            else:
                self._understood(heard)
        return heard

    def _count_voice(self) -> None:
        before, self._run_s = self._run_s, self._run_s + _WINDOW_S
        if before < _VOICE_S <= self._run_s:
            self._ear.events.on_voice()

    def _ask_partial(self) -> None:
        if self._partial is not None or time.monotonic() < self._next_partial:
            return
        if len(self._pcm) / 2 / RATE_HZ <= _LONGEST_PARTIAL_S:
            self._partial = asyncio.create_task(self._hear_partial(), name="listening.partial")

    async def _hear_partial(self) -> None:
        began = time.monotonic()
        try:
            heard = await self._ear.transcribe(bytes(self._pcm), "interim")
            if heard and heard.text:
                self._understood(heard)
        except APIError as error:
            # Nobody waits for a partial; the final will say that something is wrong.
            log.debug("partial_failed", error=type(error).__name__)
        finally:
            took = time.monotonic() - began
            self._next_partial = began + max(self._every_s, _PARTIAL_REST * took)
            self._partial = None

    def _understood(self, heard: Heard) -> None:
        self._tell(stt.SpeechEventType.INTERIM_TRANSCRIPT, heard)
        self._ear.events.on_partial(heard.text)

    def _drop_guess(self) -> None:
        if self._guess is not None:
            self._guess.cancel()
            # An error nobody asks for any more must not be reported as unseen.
            self._guess.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._guess = None

    def _drop_partial(self) -> None:
        if self._partial is not None:
            self._partial.cancel()
            self._partial = None
