"""The turns of a call: when each stage was reached, what was said, and who is told."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livekit.agents import (
    AgentSession,
    ConversationItemAddedEvent,
    UserInputTranscribedEvent,
    llm,
)
from livekit.agents.voice import AgentStateChangedEvent, SpeechCreatedEvent
from livekit.agents.voice.speech_handle import SpeechHandle

from appliance import logs
from appliance.store import Store
from services.agent.apology import FOR_AN_ANSWER, ONE_MOMENT, seconds
from services.agent.ledger import Finished, Ledger, Publish
from services.agent.rank import LIVE, Rank
from services.agent.speculation import Speculation

log = logs.get(__name__)

STAGES = ("transcript", "end_of_turn", "first_token", "first_clause", "first_sound")
# The store is asked within milliseconds; a caller does not wait for one that is stuck.
_WRITTEN_S = 1.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# In one turn: what is begun in vain still keeps a processor busy.
_MOST_EARLY = 4
# A dog that barks, or a hammer, ends every answer before it sounds.
_MOST_ANEW = 2


@dataclass
class Attempt:
    """One request to the language model; the last one of a pause becomes the answer."""

    first_token: float | None = None
    first_clause: float | None = None
    held: bool = False
    """Whether the model is not to be asked before the turn is over."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the turn is over, and this is its answer."""
    stalled: bool = False
    excused_until: float | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def taken(self) -> bool:
        """Whether it became the answer."""
        return self.over.is_set()

    async def may_begin(self) -> None:
        """Return at once, or at its turn's end if it is held."""
        if self.held:
            await self.over.wait()

    def stall(self) -> None:
        """The model is slow: the first thing heard will be an excuse."""
        self.stalled = True

    def token(self) -> None:
        """The model gave its first words."""
        if self.first_token is None:
            self.first_token = time.monotonic()

    def clause(self) -> None:
        """The first words went to the voice."""
        if self.first_token is not None and self.first_clause is None:
            self.first_clause = time.monotonic()


@dataclass
class OpenTurn:
    """A turn that is not finished. Moments are seconds of CLOCK_MONOTONIC."""

    user_text: str | None
    agent_text: str = ""
    apology: str = ""
    interrupted: bool = False
    silenced: bool = False
    begun_anew: int = 0
    speech_end: float | None = None
    transcript: float | None = None
    end_of_turn: float | None = None
    first_sound: float | None = None
    attempt: Attempt = field(default_factory=Attempt)

    @property
    def is_unanswered(self) -> bool:
        """Whether the caller asked and has heard nothing yet."""
        heard = self.agent_text or self.apology or self.first_sound is not None
        return self.user_text is not None and not heard

    def at(self) -> dict[str, float | None]:
        """The stages' moments."""
        return {
            "speech_end": self.speech_end,
            "transcript": self.transcript,
            "end_of_turn": self.end_of_turn,
            "first_token": self.attempt.first_token,
            "first_clause": self.attempt.first_clause,
            "first_sound": self.first_sound,
        }

    def ms(self) -> dict[str, int | None]:
        """The stages in ms after the caller's last voiced sample; all None for a typed turn."""
        at = self.at()
        since = self.speech_end
        times: dict[str, int | None] = {}
        for stage in STAGES:
            moment = at[stage]
            known = since is not None and moment is not None
            times[stage] = round((moment - since) * 1000) if known else None  # type: ignore[operator]
        return {**times, "at_ear": None}


class TurnLog:
    """Follows a session's events and writes every turn, in order, off the event loop.

    Args:
        store: where turns are kept.
        session_id: the call.
        publish: sends a text to the room on a topic.
        speculation: told which answers were begun before the turn's end, and used.
    """

    def __init__(
        self,
        store: Store,
        session_id: str,
        publish: Publish,
        speculation: Speculation,
    ) -> None:
        self.speculation = speculation
        self._ahead: Attempt | None = None
        self._begun_early = 0
        self._held: list[Attempt] = []
        self._ledger = Ledger(store, session_id, publish)
        self._host = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
        self._speech_end: float | None = None
        self._transcript: float | None = None
        # Both as they were at the last words that the session was told of.
        self._told: tuple[float | None, float | None] = (None, None)
        self._attempt = Attempt()
        self._open: OpenTurn | None = None
        self._count = 0
        self._session: AgentSession[Any] | None = None
        self._recorded: set[SpeechHandle] = set()
        self.hidden: set[str] = set()
        self.on_turn_over: Callable[[str], None] = lambda _attempt: None
        """Told the id of an answer begun early whose turn is over now."""

    def follow(self, session: AgentSession[Any]) -> None:
        """Listen to a session's events."""
        self._session = session
        session.on("user_input_transcribed", self._on_words)
        session.on("conversation_item_added", self._on_item)
        session.on("agent_state_changed", self._on_state)
        session.on("speech_created", self._on_speech)

    @property
    def is_open(self) -> bool:
        """Whether an answer is owed or being spoken; not one that was silenced before it sounded."""
        return self._open is not None and not self._open.silenced

    @property
    def is_silenced(self) -> bool:
        """Whether the caller's voice has ended an answer before it sounded, and no words have followed."""
        return self._open is not None and self._open.silenced

    def answer_anew(self) -> bool:
        """It was no word that silenced it; whether it is worth trying again. The next attempt is the answer then."""
        turn = self._open
        if turn is None:
            return False
        turn.silenced = False
        turn.begun_anew += 1
        if turn.begun_anew > _MOST_ANEW:
            turn.interrupted = True
            self._finish()
            return False
        return True

    def heard_speech_end(self, moment: float) -> None:
        """The caller fell silent; ``moment`` is the last voiced sample's."""
        self._speech_end = moment

    def heard_transcript(self) -> None:
        """The words of the latest speech are known."""
        self._transcript = time.monotonic()

    def forget_speech(self) -> None:
        """The latest speech was a noise, or was passed over: no turn is timed from it."""
        self._speech_end, self._transcript = self._told

    def begin_attempt(self, words: str) -> Attempt:
        """The language model is about to be asked for the answer to ``words``."""
        self._attempt = Attempt()
        turn = self._open
        if turn is not None and turn.first_sound is None and not turn.silenced:
            turn.attempt = self._attempt
            self._attempt.over.set()
        elif self._begun_early < _MOST_EARLY and self.speculation.may_answer(words):
            self._begun_early += 1
            self._ahead = self._attempt
            self.speculation.begin("reply")
        else:
            self._attempt.held = True
            self._held.append(self._attempt)
            self.speculation.left_out += 1
        return self._attempt

    def give_up_attempt(self) -> bool:
        """The caller speaks on; whether an answer was begun to what was said so far."""
        if self._attempt is not self._ahead or self._attempt.taken:
            return False
        self._attempt, self._ahead = Attempt(), None
        return True

    @property
    def rank(self) -> Rank:
        """How soon the latest attempt's answer is needed."""
        if self._attempt is self._ahead and not self._attempt.taken:
            return Rank("preemptive", self._attempt.id)
        return LIVE

    def sent_to_voice(self) -> None:
        """A piece of text went to the voice."""
        self._attempt.clause()

    async def written(self) -> None:
        """Wait until the turns so far are in the store, or for a second."""
        if not await self._ledger.written(_WRITTEN_S):
            log.warning("answered_before_written", after_s=_WRITTEN_S)

    def apologised(self, handle: SpeechHandle, words: str) -> None:
        """A recording is spoken; if the caller hears no other answer, it was the answer."""
        self._recorded.add(handle)
        handle.add_done_callback(self._recorded.discard)
        turn = self._open
        if turn is not None and turn.user_text is not None and words in FOR_AN_ANSWER:
            turn.apology = words
            if turn.silenced:
                # The caller is asked to say it again; nobody answers it a minute later.
                self._finish()

    def answer_sounds(self) -> None:
        """The first sound of an answer was made; what follows an excuse begins with no event."""
        turn = self._open
        if turn is not None and turn.first_sound is None and turn.attempt.stalled:
            turn.first_sound = max(time.monotonic(), turn.attempt.excused_until or 0.0)

    def greet(self, handle: SpeechHandle) -> None:
        """The agent speaks first: a turn without a caller's side."""
        self._begin(OpenTurn(user_text=None))
        handle.add_done_callback(self._on_done)

    async def aclose(self) -> None:
        """Finish the open turn as far as it came, and write all, within a few seconds."""
        if self._open is not None:
            self._open.interrupted = True
            self._finish()
        await self._ledger.aclose()

    def _on_words(self, event: UserInputTranscribedEvent) -> None:
        if not event.is_final:
            return
        self._told = (self._speech_end, self._transcript)
        if self._open is not None and self._open.is_unanswered:
            # The framework gives its answer up for these words. What is begun next is theirs, and
            # that may be before the answer has ended.
            self._open.interrupted = True
            self._finish()

    def _on_item(self, event: ConversationItemAddedEvent) -> None:
        item = event.item
        if not isinstance(item, llm.ChatMessage):
            return
        text = item.text_content or ""
        if item.role == "user":
            if self._open is not None:
                self._open.interrupted = True
                self._finish()
            # The request made ahead of time, in the pause; or one that is still to come.
            attempt = Attempt() if self._attempt.taken else self._attempt
            attempt.over.set()
            # The others have ended; one that waits for ever would be a caller who does, too.
            while self._held:
                self._held.pop().over.set()
            self._begun_early = 0
            if attempt is self._ahead:
                self.speculation.use("reply")
                self.on_turn_over(attempt.id)
            turn = OpenTurn(
                user_text=text,
                speech_end=self._speech_end,
                transcript=self._transcript,
                end_of_turn=time.monotonic(),
                attempt=attempt,
            )
            self._speech_end = self._transcript = None
            self._told = (None, None)
            self._begin(turn)
        elif item.role == "assistant" and self._open is not None:
            if self._open.user_text is None:
                self.hidden.add(item.id)
            self._open.agent_text = f"{self._open.agent_text} {text}".strip()
            self._open.interrupted = self._open.interrupted or item.interrupted

    def _on_state(self, event: AgentStateChangedEvent) -> None:
        turn = self._open
        if event.new_state != "speaking" or turn is None or turn.first_sound is not None:
            return
        if self._session is not None and self._session.current_speech in self._recorded:
            return
        if turn.attempt.stalled:
            turn.attempt.excused_until = time.monotonic() + seconds(ONE_MOMENT)
        else:
            turn.first_sound = time.monotonic()

    def _on_speech(self, event: SpeechCreatedEvent) -> None:
        if event.source == "generate_reply":
            event.speech_handle.add_done_callback(self._on_done)

    def _on_done(self, handle: SpeechHandle) -> None:
        # A reply begun ahead of time and given up was never scheduled: no turn is its own.
        turn = self._open
        if not handle.scheduled or turn is None:
            return
        if handle.interrupted and turn.is_unanswered:
            # A cough does it as well as a word: which of them it was, the ear says in a moment.
            turn.silenced = True
            return
        turn.interrupted = turn.interrupted or handle.interrupted
        self._finish()

    def _begin(self, turn: OpenTurn) -> None:
        number = self._count
        self._count += 1
        self._open = turn
        self._ledger.begin(number, turn.user_text)

    def _finish(self) -> None:
        turn, self._open = self._open, None
        if turn is None:
            return
        number = self._count - 1
        ms = turn.ms()
        log.info(
            "turn_finished",
            turn=number,
            interrupted=turn.interrupted,
            first_sound_ms=ms["first_sound"],
        )
        self._ledger.finish(
            number,
            Finished(
                user_text=turn.user_text,
                agent_text=turn.agent_text or turn.apology,
                interrupted=turn.interrupted,
                ms=ms,
                extra={"host": self._host, "at": turn.at()},
            ),
        )
