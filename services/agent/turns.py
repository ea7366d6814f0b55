"""The turns of a call: when each stage was reached, what was said, and who is told."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livekit.agents import AgentSession, ConversationItemAddedEvent, llm
from livekit.agents.voice import AgentStateChangedEvent, SpeechCreatedEvent
from livekit.agents.voice.speech_handle import SpeechHandle

from appliance import logs
from appliance.errors import ApplianceError
from appliance.store import Store

log = logs.get(__name__)

TOPIC = "appliance.turn"
STAGES = ("transcript", "end_of_turn", "first_token", "first_clause", "first_sound")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass
class Attempt:
    """One request to the language model; the last one of a pause becomes the answer."""

    first_token: float | None = None
    first_clause: float | None = None
    taken: bool = False

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
    interrupted: bool = False
    speech_end: float | None = None
    transcript: float | None = None
    end_of_turn: float | None = None
    first_sound: float | None = None
    attempt: Attempt = field(default_factory=Attempt)

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
    """

    def __init__(
        self, store: Store, session_id: str, publish: Callable[[str, str], Awaitable[None]]
    ) -> None:
        self._store = store
        self._session_id = session_id
        self._publish = publish
        self._host = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
        self._speech_end: float | None = None
        self._transcript: float | None = None
        self._attempt = Attempt()
        self._open: OpenTurn | None = None
        self._count = 0
        self._indexes: dict[int, int] = {}
        self._work: asyncio.Queue[Callable[[], Awaitable[None]] | None] = asyncio.Queue()
        self._writer = asyncio.create_task(self._write(), name="turns.write")
        self.hidden: set[str] = set()

    def follow(self, session: AgentSession[Any]) -> None:
        """Listen to a session's events."""
        session.on("conversation_item_added", self._on_item)
        session.on("agent_state_changed", self._on_state)
        session.on("speech_created", self._on_speech)

    @property
    def is_open(self) -> bool:
        """Whether an answer is owed or being spoken."""
        return self._open is not None

    def heard_speech_end(self, moment: float) -> None:
        """The caller fell silent; ``moment`` is the last voiced sample's."""
        self._speech_end = moment

    def heard_transcript(self) -> None:
        """The words of the latest speech are known."""
        self._transcript = time.monotonic()

    def begin_attempt(self) -> Attempt:
        """The language model is being asked."""
        self._attempt = Attempt()
        if self._open is not None and self._open.first_sound is None:
            self._open.attempt = self._attempt
            self._attempt.taken = True
        return self._attempt

    def sent_to_voice(self) -> None:
        """A piece of text went to the voice."""
        self._attempt.clause()

    def greet(self, handle: SpeechHandle) -> None:
        """The agent speaks first: a turn without a caller's side."""
        self._begin(OpenTurn(user_text=None))
        handle.add_done_callback(self._on_done)

    async def aclose(self) -> None:
        """Finish the open turn as far as it came, and wait until all is written."""
        if self._open is not None:
            self._open.interrupted = True
            self._finish()
        self._work.put_nowait(None)
        await self._writer

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
            attempt.taken = True
            turn = OpenTurn(
                user_text=text,
                speech_end=self._speech_end,
                transcript=self._transcript,
                end_of_turn=time.monotonic(),
                attempt=attempt,
            )
            self._speech_end = self._transcript = None
            self._begin(turn)
        elif item.role == "assistant" and self._open is not None:
            if self._open.user_text is None:
                self.hidden.add(item.id)
            self._open.agent_text = f"{self._open.agent_text} {text}".strip()
            self._open.interrupted = self._open.interrupted or item.interrupted

    def _on_state(self, event: AgentStateChangedEvent) -> None:
        if event.new_state == "speaking" and self._open and self._open.first_sound is None:
            self._open.first_sound = time.monotonic()

    def _on_speech(self, event: SpeechCreatedEvent) -> None:
        if event.source == "generate_reply":
            event.speech_handle.add_done_callback(self._on_done)

    def _on_done(self, handle: SpeechHandle) -> None:
        # A reply begun ahead of time and given up was never scheduled: no turn is its own.
        if handle.scheduled and self._open is not None:
            self._open.interrupted = self._open.interrupted or handle.interrupted
            self._finish()

    def _begin(self, turn: OpenTurn) -> None:
        number = self._count
        self._count += 1
        self._open = turn

        async def write() -> None:
            self._indexes[number] = await asyncio.to_thread(
                self._store.turns.begin, self._session_id, turn.user_text
            )

        self._work.put_nowait(write)

    def _finish(self) -> None:
        turn, self._open = self._open, None
        if turn is None:
            return
        number = self._count - 1
        ms = turn.ms()

        async def write() -> None:
            index = self._indexes.pop(number, None)
            if index is not None:
                await asyncio.to_thread(
                    self._store.turns.finish, self._session_id, index, turn.agent_text,
                    interrupted=turn.interrupted, ms=ms,
                )  # fmt: skip
            told = {
                "turn": number if index is None else index,
                "user_text": turn.user_text,
                "agent_text": turn.agent_text,
                "interrupted": turn.interrupted,
                "host": self._host,
                "at": turn.at(),
                "ms": ms,
            }
            await self._publish(json.dumps(told), TOPIC)

        log.info(
            "turn_finished",
            turn=number,
            interrupted=turn.interrupted,
            first_sound_ms=ms["first_sound"],
        )
        self._work.put_nowait(write)

    async def _write(self) -> None:
        while (write := await self._work.get()) is not None:
            try:
                await write()
            except ApplianceError as error:
                log.error("turn_not_written", code=error.code, why=str(error))
