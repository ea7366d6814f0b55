"""What happens when the caller speaks while the agent does: a persona's four manners."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any, Literal

from livekit.agents import AgentSession, stt
from livekit.agents.voice import UserStateChangedEvent
from livekit.agents.voice.speech_handle import SpeechHandle

from appliance import logs
from services.agent.backchannels import calls_out, says_words, telling_words
from services.agent.playout import Playout

log = logs.get(__name__)

Manner = Literal["stop", "finish", "ignore", "resume"]
# The framework counts a caller who speaks this long as interrupting: never.
NEVER_S = 86_400.0
# What was heard is in the talk's history then, which the next question is asked with.
_WRITTEN_DOWN_S = 0.5
# The words of a speech are told with its end, or this much later.
_LAST_WORDS_S = 0.25
# Who speaks into the last word has heard what was said.
_ALL_BUT_OVER_S = 1.0
# Words that were heard but once are believed from this probability of a token on.
_SURE = 0.45
_WORDS = (
    stt.SpeechEventType.INTERIM_TRANSCRIPT,
    stt.SpeechEventType.PREFLIGHT_TRANSCRIPT,
    stt.SpeechEventType.FINAL_TRANSCRIPT,
)


def interrupting_s(manner: Manner, after_s: float) -> float:
    """Voice after which the framework itself silences the agent, in seconds.

    Args:
        manner: the persona's.
        after_s: the setting.
    """
    return after_s if manner in ("stop", "resume") else NEVER_S


class Overlap:
    """Judges the caller's words before the session has them.

    ``stop``: nothing is judged, the framework stops at the caller's voice. ``ignore``: the agent
    goes on until words are recognised that are no backchannel. ``resume``: the framework stops at
    the voice; a backchannel is kept from it, so that it goes on. ``finish``: the agent speaks its
    sentence to the end, waits there for the caller's words, and goes on if there are none.

    Args:
        session: the talk.
        manner: the persona's.
        language: of the caller, ISO 639.
        after_s: voice that counts as speaking over the agent, in seconds.
        on_passed_over: told when the session is not told of a speech.
    """

    def __init__(
        self,
        session: AgentSession[Any],
        manner: Manner,
        language: str,
        after_s: float,
        on_passed_over: Callable[[], None] = lambda: None,
    ) -> None:
        self._session = session
        self._manner = manner
        self._language = language
        self._after_s = after_s
        self._on_passed_over = on_passed_over
        self._playout: Playout | None = None
        self._voice: asyncio.TimerHandle | None = None
        self._finishing: asyncio.Task[None] | None = None
        self._spoken_over_at_s: float | None = None
        self._looks: frozenset[str] = frozenset()
        self._heard_words = asyncio.Event()
        self._silent = asyncio.Event()
        session.on("user_state_changed", self._on_user_state)

    def start(self, playout: Playout) -> None:
        """The session's sound passes through ``playout``."""
        self._playout = playout

    def close(self) -> None:
        """Judge nothing more."""
        if self._voice is not None:
            self._voice.cancel()
        if self._finishing is not None:
            self._finishing.cancel()

    def is_spoken_over(self) -> bool:
        """Whether the agent speaks and waits for words to judge."""
        return self._spoken_over() is not None

    async def judged(
        self, events: AsyncIterable[stt.SpeechEvent]
    ) -> AsyncIterator[stt.SpeechEvent]:
        """The events the session is to know of."""
        async for event in events:
            if event.type not in _WORDS or await self._passes(event):
                yield event

    async def _passes(self, event: stt.SpeechEvent) -> bool:
        speech = self._spoken_over()
        if speech is None:
            return True
        if not self._is_believed(event) and not self._is_answer(event):
            if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                log.info("backchannel_passed_over", manner=self._manner)
                self._on_passed_over()
            return False
        if self._manner != "finish":
            await self._interrupt(speech)
            return True
        self._heard_words.set()
        if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
            # Told of the words, the session would stop in the middle of the sentence.
            await self._sentence_ends(speech)
        return event.type != stt.SpeechEventType.PREFLIGHT_TRANSCRIPT

    def _is_believed(self, event: stt.SpeechEvent) -> bool:
        """Whether words that want the floor were heard in it.

        A sound reads like a word now and then, but not like the same one in two looks at it.
        """
        said = event.alternatives[0]
        words = telling_words(said.text, self._language)
        if words & self._looks:
            return True
        if event.type == stt.SpeechEventType.INTERIM_TRANSCRIPT:
            self._looks = words
            return False
        is_sure = said.confidence >= _SURE or calls_out(words, self._language)
        return bool(words) and is_sure

    def _is_answer(self, event: stt.SpeechEvent) -> bool:
        """Whether it is said to an answer that was all but over: "yes" is no backchannel then."""
        rest_s = self._playout.rest_s if self._playout is not None else None
        is_over = self._manner == "resume" and rest_s is not None and rest_s < _ALL_BUT_OVER_S
        final = event.type == stt.SpeechEventType.FINAL_TRANSCRIPT
        return is_over and final and says_words(event.alternatives[0].text)

    def _spoken_over(self) -> SpeechHandle | None:
        """The answer being spoken, if the manner is one that judges."""
        speech = self._session.current_speech
        if self._manner == "stop" or self._playout is None or speech is None or speech.interrupted:
            return None
        return speech if self._session.agent_state == "speaking" or self._playout.paused else None

    async def _interrupt(self, speech: SpeechHandle) -> None:
        if not speech.interrupted and not speech.done() and speech.allow_interruptions:
            speech.interrupt()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(speech.wait_for_playout(), _WRITTEN_DOWN_S)

    async def _sentence_ends(self, speech: SpeechHandle) -> None:
        if self._finishing is None:
            self._finish(speech)
        if self._finishing is not None:
            await asyncio.wait([self._finishing])

    def _on_user_state(self, event: UserStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self._looks = frozenset()
        if self._manner != "finish":
            return
        if event.new_state == "speaking":
            self._silent.clear()
            if self._finishing is None:
                self._heard_words.clear()
            # The sentence that is finished is the one the caller began in.
            self._spoken_over_at_s = self._playout.position_s if self._playout else None
            loop = asyncio.get_running_loop()
            self._voice = loop.call_later(self._after_s, self._on_voice)
        else:
            self._silent.set()
            if self._voice is not None:
                self._voice.cancel()
                self._voice = None

    def _on_voice(self) -> None:
        speech = self._spoken_over()
        if speech is not None and self._finishing is None:
            self._finish(speech)

    def _finish(self, speech: SpeechHandle) -> None:
        self._finishing = asyncio.create_task(self._end_sentence(speech), name="overlap.finish")
        self._finishing.add_done_callback(self._on_finished)

    def _on_finished(self, task: asyncio.Task[None]) -> None:
        self._finishing = None
        self._heard_words.clear()
        if not task.cancelled() and task.exception() is not None:
            log.warning("sentence_not_finished", error=type(task.exception()).__name__)

    async def _end_sentence(self, speech: SpeechHandle) -> None:
        playout = self._playout
        if playout is None:
            return
        await playout.sentence_ends(self._spoken_over_at_s)
        if speech.done() or speech.interrupted:
            return
        if not self._heard_words.is_set():
            if self._silent.is_set():
                # It was a noise, and is over.
                return
            playout.pause()
            await self._until_words_or_silence()
        if self._heard_words.is_set():
            await self._interrupt(speech)
        else:
            playout.resume()

    async def _until_words_or_silence(self) -> None:
        words = asyncio.ensure_future(self._heard_words.wait())
        silence = asyncio.ensure_future(self._silent.wait())
        try:
            await asyncio.wait({words, silence}, return_when=asyncio.FIRST_COMPLETED)
            if not words.done():
                await asyncio.wait({words}, timeout=_LAST_WORDS_S)
        finally:
            words.cancel()
            silence.cancel()
            await asyncio.gather(words, silence, return_exceptions=True)
