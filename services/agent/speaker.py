"""Who answers: a persona as a livekit agent."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable

from livekit.agents import Agent, FlushSentinel, ModelSettings, llm

from services.agent.mind import fit
from services.agent.turns import TurnLog


class Speaker(Agent):
    """Shows the model what fits, and notes when it begins to answer.

    Args:
        instructions: the persona's.
        context: examples and earlier turns.
        budget_tokens: room for a prompt, in tokens.
        turns: the call's turns.
        on_attempt: told each time before the model is asked.
    """

    def __init__(
        self,
        instructions: str,
        context: llm.ChatContext,
        budget_tokens: int,
        turns: TurnLog,
        on_attempt: Callable[[], None],
    ) -> None:
        super().__init__(instructions=instructions, chat_ctx=context)
        self._budget_tokens = budget_tokens
        self._turns = turns
        self._on_attempt = on_attempt

    async def llm_node(
        self,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool],
        model_settings: ModelSettings,
    ) -> AsyncIterable[llm.ChatChunk | str | FlushSentinel]:
        """Ask the model."""
        self._on_attempt()
        attempt = self._turns.begin_attempt()
        shown = fit(chat_ctx, self._budget_tokens, frozenset(self._turns.hidden))
        async for chunk in Agent.default.llm_node(self, shown, tools, model_settings):
            if isinstance(chunk, llm.ChatChunk) and chunk.delta and chunk.delta.content:
                attempt.token()
            yield chunk
