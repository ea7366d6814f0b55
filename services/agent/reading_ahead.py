"""While the caller speaks, the model reads the talk so far and what is understood of the question."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from livekit.agents import APIConnectOptions, llm

from appliance import logs
from services.agent.speculation import Speculation

log = logs.get(__name__)

# Four times the last one's cost, so that reading never takes more than a fifth of the service.
_REST = 4.0
_PATIENCE_S = 5.0


class ReadingAhead:
    """Asks the model for nothing but to read, each time some more of the question is understood.

    Args:
        mind: asks for answers without a word; None: nobody reads ahead.
        said: the words of this turn that are final.
        speculation: whether there is time for it.

    Attributes:
        context: what the model would be shown now, without this turn.
    """

    def __init__(
        self, mind: llm.LLM[Any] | None, said: Callable[[], str], speculation: Speculation
    ) -> None:
        self.context: Callable[[], llm.ChatContext] = llm.ChatContext.empty
        self._mind = mind
        self._said = said
        self._speculation = speculation
        self._task: asyncio.Task[None] | None = None
        self._not_before = 0.0

    def understood(self, words: str) -> None:
        """More of what the caller is saying is known; ``words`` are those that are not final."""
        idle = self._task is None or self._task.done()
        if self._mind is None or not idle or self._speculation.is_pressed:
            return
        if time.monotonic() >= self._not_before:
            self._speculation.begin("prompt")
            work = self._read(self._mind, f"{self._said()} {words}".strip())
            self._task = asyncio.create_task(work, name="reading_ahead")

    def stop(self) -> None:
        """The model is about to be asked in earnest."""
        if self._task is not None:
            self._task.cancel()

    async def aclose(self) -> None:
        """Stop and close the connection."""
        self.stop()
        if self._task is not None:
            await asyncio.wait([self._task])
        if self._mind is not None:
            await self._mind.aclose()

    async def _read(self, mind: llm.LLM[Any], words: str) -> None:
        began = time.monotonic()
        context = self.context().copy()
        context.add_message(role="user", content=words)
        quickly = APIConnectOptions(max_retry=0, timeout=_PATIENCE_S)
        try:
            async with mind.chat(chat_ctx=context, conn_options=quickly) as answer:
                async for _ in answer:
                    pass
        except Exception as error:  # noqa: BLE001 - a talk never suffers from what only makes it quicker
            # The question is then only answered later; a model that is down is said when asked.
            log.info("not_read_ahead", error=type(error).__name__)
        finally:
            took_s = time.monotonic() - began
            self._not_before = time.monotonic() + _REST * took_s
