"""What the caller hears when a part of the box fails: recorded, so that it needs no part."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from livekit import rtc
from livekit.agents import AgentSession, ErrorEvent, UserStateChangedEvent
from livekit.agents.voice.speech_handle import SpeechHandle

from appliance import logs
from appliance.audio import read_audio

log = logs.get(__name__)

TOPIC = "appliance.notice"
_FOLDER = Path(__file__).parent / "sounds"
_FRAME_S = 0.05


class Line(NamedTuple):
    """Something recorded: its file's stem is the code the page gets."""

    code: str
    words: str


STT_FAILED = Line("stt_failed", "Sorry, I could not hear that. Please say it again in a moment.")
LLM_FAILED = Line(
    "llm_failed", "Sorry, I lost my train of thought. Please ask me again in a moment."
)
TTS_FAILED = Line("tts_failed", "Sorry, I lost my voice for a moment. Please ask me again.")
NOT_CAUGHT = Line("not_caught", "Sorry, I did not catch that.")
ONE_MOMENT = Line("one_moment", "One moment, please.")
BACK = Line("back", "Sorry, I was gone for a moment. I am back now.")
ENDING_SOON = Line("ending_soon", "Our time is nearly over. This call ends soon.")
TIME_IS_UP = Line("time_is_up", "Our time is up. Thank you, and goodbye.")
BOX_STOPS = Line("box_stops", "I am being switched off now, so this call ends. Goodbye.")
# The call ends whether the caller listens or not.
LAST_WORDS = (TIME_IS_UP, BOX_STOPS)
# These stand for an answer that does not come; who hears the others still waits for one.
FOR_AN_ANSWER = frozenset(
    line.words for line in (STT_FAILED, LLM_FAILED, TTS_FAILED, NOT_CAUGHT, *LAST_WORDS)
)
LINES = (
    STT_FAILED, LLM_FAILED, TTS_FAILED, NOT_CAUGHT, ONE_MOMENT, BACK, ENDING_SOON, TIME_IS_UP,
    BOX_STOPS,
)  # fmt: skip

_BY_ERROR = {"stt_error": STT_FAILED, "llm_error": LLM_FAILED, "tts_error": TTS_FAILED}


@cache
def _sound(line: Line) -> tuple[bytes, int]:
    """The recording as mono s16le and its rate in Hz."""
    recording = read_audio(_FOLDER / f"{line.code}.flac")
    return recording.to_s16le(), recording.rate_hz


async def frames(line: Line) -> AsyncIterator[rtc.AudioFrame]:
    """The recording in short frames."""
    pcm, rate_hz = _sound(line)
    step = round(rate_hz * _FRAME_S) * 2
    for start in range(0, len(pcm), step):
        piece = pcm[start : start + step]
        yield rtc.AudioFrame(piece, rate_hz, 1, len(piece) // 2)


def seconds(line: Line) -> float:
    """How long the recording is."""
    pcm, rate_hz = _sound(line)
    return len(pcm) / 2 / rate_hz


def load_sounds() -> None:
    """Read all recordings, so that none is read while somebody waits."""
    for line in LINES:
        _sound(line)


class Apologies:
    """Speaks once for each failure that the caller would otherwise meet as silence.

    Args:
        session: the talk.
        owes_answer: whether the caller's turn has ended and its answer is not spoken yet.
        publish: sends a text to the room on a topic.
        on_said: told of each recording that is spoken, and of its words.
    """

    def __init__(
        self,
        session: AgentSession[Any],
        owes_answer: Callable[[], bool],
        publish: Callable[[str, str], Awaitable[None]],
        on_said: Callable[[SpeechHandle, str], None] = lambda _handle, _words: None,
    ) -> None:
        self._session = session
        self._on_said = on_said
        self._owes_answer = owes_answer
        self._publish = publish
        self._waiting: Line | None = None
        self._after_speech: Line | None = None
        self._spoken: set[str] = set()
        self._handle: SpeechHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        session.on("error", self._on_error)
        session.on("user_state_changed", self._on_user_state)
        session.on("conversation_item_added", self._on_item)

    def say(self, line: Line) -> SpeechHandle | None:
        """Speak a recording and tell the page; None when the talk is over."""
        if self._closed:
            return None
        try:
            handle = self._session.say(
                line.words,
                audio=frames(line),
                # The room is closed soon after: who speaks into it would be answered in vain.
                allow_interruptions=line not in LAST_WORDS,
                add_to_chat_ctx=False,
            )
        except RuntimeError:
            # The session closes; there is nobody to speak to.
            return None
        self._on_said(handle, line.words)
        self.notice(line.code, line.words)
        return handle

    def not_caught(self) -> None:
        """The caller spoke at some length and no word was heard."""
        # An answer that is held back, because somebody might be speaking, is still to be heard.
        owed = self._session.current_speech is not None
        if not self._is_speaking and not owed and self._session.agent_state == "listening":
            self._speak(NOT_CAUGHT)

    def models_changing(self, notice: str) -> bool:
        """A model is being changed: say so unless somebody is speaking; whether it was told.

        Somebody who speaks is told when they have finished, an agent that speaks is not cut.
        """
        if self._session.user_state == "speaking":
            return False
        if self._session.agent_state == "listening":
            self.say(ONE_MOMENT)
        self.notice("models_changing", notice)
        return True

    def notice(self, code: str, message: str) -> None:
        """Tell the page alone."""
        if not self._closed:
            self._told(self._publish(json.dumps({"code": code, "message": message}), TOPIC))

    def new_attempt(self) -> None:
        """The model is asked again, so an earlier failure may not matter any more."""
        self._waiting = None

    def close(self) -> None:
        """Say nothing more."""
        self._closed = True

    @property
    def _is_speaking(self) -> bool:
        return self._handle is not None and not self._handle.done()

    def _speak(self, line: Line) -> None:
        if not self._is_speaking and line.code not in self._spoken:
            self._spoken.add(line.code)
            self._handle = self.say(line)

    def _on_error(self, event: ErrorEvent) -> None:
        kind = getattr(event.error, "type", "")
        if getattr(event.error, "recoverable", True) or kind not in _BY_ERROR:
            return
        line = _BY_ERROR[kind]
        log.warning("service_failed", code=line.code)
        if line is STT_FAILED and self._session.user_state == "speaking":
            # The session has not heard the caller's last word end: what is said now, it would
            # take for something the caller speaks over, and cut.
            self._after_speech = line
        elif line is STT_FAILED or self._owes_answer():
            self._speak(line)
        else:
            # It failed while the caller may still be speaking: nothing is owed yet.
            self._waiting = line

    def _on_user_state(self, event: UserStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self._spoken.clear()
        elif self._after_speech is not None:
            line, self._after_speech = self._after_speech, None
            self._speak(line)

    def _on_item(self, event: Any) -> None:
        if getattr(event.item, "role", None) == "user":
            self._spoken.clear()
            self._after_speech = None
            if self._waiting is not None:
                line, self._waiting = self._waiting, None
                self._speak(line)

    def _told(self, publishing: Awaitable[None]) -> None:
        task = asyncio.ensure_future(publishing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
