"""Who answers: a persona as a livekit agent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable

from livekit import rtc
from livekit.agents import Agent, FlushSentinel, ModelSettings, llm, stt
from livekit.agents.voice.io import TimedString

from services.agent.apology import ONE_MOMENT, frames
from services.agent.mind import fit
from services.agent.turns import TurnLog

# A caller who hears nothing for longer believes that the line is dead.
_PATIENCE_S = 4.0
Words = AsyncIterable[llm.ChatChunk | str | FlushSentinel]
Judge = Callable[[AsyncIterable[stt.SpeechEvent]], AsyncIterable[stt.SpeechEvent]]


class Speaker(Agent):
    """Shows the model what fits, notes when it begins to answer, and says so if it is slow.

    Args:
        instructions: the persona's.
        context: examples and earlier turns.
        budget_tokens: room for a prompt, in tokens.
        turns: the call's turns.
        on_attempt: told each time before the model is asked.
        judge: passes on what the session is to hear of the caller's words.
    """

    def __init__(
        self,
        instructions: str,
        context: llm.ChatContext,
        budget_tokens: int,
        turns: TurnLog,
        on_attempt: Callable[[], None],
        judge: Judge = lambda events: events,
    ) -> None:
        super().__init__(instructions=instructions, chat_ctx=context)
        self._budget_tokens = budget_tokens
        self._turns = turns
        self._on_attempt = on_attempt
        self._judge = judge

    async def stt_node(
        self, audio: AsyncIterable[rtc.AudioFrame], model_settings: ModelSettings
    ) -> AsyncIterator[stt.SpeechEvent]:
        """Hear the caller, as far as the persona's manner lets it through."""
        async with contextlib.aclosing(
            Agent.default.stt_node(self, audio, model_settings)
        ) as events:
            async for event in self._judge(events):
                yield event

    async def llm_node(
        self,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool],
        model_settings: ModelSettings,
    ) -> Words:
        """Ask the model; "one moment" is its first sentence if it takes long to begin.

        The framework asks in every pause. An answer that is probably in vain waits for the turn's end.
        """
        self._on_attempt()
        attempt = self._turns.begin_attempt(_last_words(chat_ctx))
        await attempt.may_begin()
        await self._turns.written()
        shown = fit(chat_ctx, self._budget_tokens, frozenset(self._turns.hidden))
        words = Agent.default.llm_node(self, shown, tools, model_settings)
        async for chunk in _or_one_moment(words, attempt.stall):
            if isinstance(chunk, llm.ChatChunk) and chunk.delta and chunk.delta.content:
                attempt.token()
            yield chunk

    async def tts_node(
        self, text: AsyncIterable[str], model_settings: ModelSettings
    ) -> AsyncIterator[rtc.AudioFrame]:
        """Speak; "one moment" is recorded, for the voice may be as busy as the model."""
        pieces = aiter(text)
        begun = ""
        async for piece in pieces:
            begun += piece
            if not ONE_MOMENT.words.startswith(begun):
                break
        if begun.strip() == ONE_MOMENT.words:
            async for frame in frames(ONE_MOMENT):
                yield frame
        elif begun:
            rest = _after(begun, pieces)
            async for frame in Agent.default.tts_node(self, rest, model_settings):
                self._turns.answer_sounds()
                yield frame

    async def transcription_node(
        self, text: AsyncIterable[str | TimedString], model_settings: ModelSettings
    ) -> AsyncIterator[str | TimedString]:
        """What is shown and remembered: the answer without "one moment"."""
        async for piece in text:
            if piece.strip() != ONE_MOMENT.words:
                yield piece


async def _or_one_moment(
    words: Words, on_slow: Callable[[], None]
) -> AsyncIterator[llm.ChatChunk | str | FlushSentinel]:
    pieces = aiter(words)
    first = asyncio.ensure_future(anext(pieces))
    try:
        done, _pending = await asyncio.wait({first}, timeout=_PATIENCE_S)
        if not done:
            on_slow()
            yield ONE_MOMENT.words
            yield FlushSentinel()
        try:
            yield await first
        except StopAsyncIteration:
            return
        async for piece in pieces:
            yield piece
    finally:
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


def _last_words(talk: llm.ChatContext) -> str:
    last = talk.items[-1] if talk.items else None
    return last.text_content or "" if isinstance(last, llm.ChatMessage) else ""


async def _after(first: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    async for piece in rest:
        yield piece
