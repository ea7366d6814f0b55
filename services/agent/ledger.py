"""Writes turns into the store and tells the page: each in order, neither waiting for the other."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from appliance import logs
from appliance.errors import ApplianceError
from appliance.store import Store

log = logs.get(__name__)

TOPIC = "appliance.turn"
# A store that is busy for longer than these pauses, in seconds, is not busy but broken.
_PAUSES_S = (0.1, 0.3, 1.0)
_PUBLISH_S = 2.0
# Less than the framework leaves to the end of a job: the call's end is still to be written.
_CLOSE_S = 3.0
_CANCEL_S = 0.5

Publish = Callable[[str, str], Awaitable[None]]
_Work = Callable[[], Awaitable[None]]
_Got = TypeVar("_Got")


@dataclass(frozen=True)
class Finished:
    """A turn as it is kept, and what else the page is told of it."""

    user_text: str | None
    agent_text: str
    interrupted: bool
    ms: dict[str, int | None]
    extra: dict[str, Any]


class Ledger:
    """The turns of one call on their way out. Turns are numbered by the caller.

    Args:
        store: where turns are kept.
        session_id: the call.
        publish: sends a text to the room on a topic.
    """

    def __init__(self, store: Store, session_id: str, publish: Publish) -> None:
        self._store = store
        self._session_id = session_id
        self._publish = publish
        self._indexes: dict[int, int] = {}
        self._to_store = _Line("turns.write")
        self._to_page = _Line("turns.publish")

    def begin(self, number: int, user_text: str | None) -> None:
        """Write the caller's side of a turn."""

        async def write() -> None:
            self._indexes[number] = await self._patiently(
                lambda: self._store.turns.begin(self._session_id, user_text)
            )

        self._to_store.put(write)

    def finish(self, number: int, turn: Finished) -> None:
        """Write the answer of a turn, and the whole turn if its beginning was lost; tell the page."""

        async def write() -> None:
            index = self._indexes.pop(number, None)
            try:
                if index is None:
                    index = await self._patiently(
                        lambda: self._store.turns.begin(self._session_id, turn.user_text)
                    )
                known = index
                await self._patiently(
                    lambda: self._store.turns.finish(
                        self._session_id, known, turn.agent_text,
                        interrupted=turn.interrupted, ms=turn.ms,
                    )
                )  # fmt: skip
            finally:
                self._to_page.put(lambda: self._tell(number if index is None else index, turn))

        self._to_store.put(write)

    async def written(self, within_s: float) -> bool:
        """Wait until the store has all turns, at most ``within_s`` seconds."""
        return await self._to_store.empty(within_s)

    async def aclose(self) -> None:
        """Write and tell what is left; gives up after a few seconds."""
        until = time.monotonic() + _CLOSE_S
        await self._to_store.aclose(until)
        await self._to_page.aclose(until)

    async def _patiently(self, work: Callable[[], _Got]) -> _Got:
        for pause_s in _PAUSES_S:
            try:
                return await asyncio.to_thread(work)
            except ApplianceError as error:
                if not error.can_retry:
                    raise
                log.warning("store_asked_again", code=error.code, after_s=pause_s)
            await asyncio.sleep(pause_s)
        return await asyncio.to_thread(work)

    async def _tell(self, index: int, turn: Finished) -> None:
        told = {
            "turn": index,
            "user_text": turn.user_text,
            "agent_text": turn.agent_text,
            "interrupted": turn.interrupted,
            **turn.extra,
            "ms": turn.ms,
        }
        async with asyncio.timeout(_PUBLISH_S):
            await self._publish(json.dumps(told), TOPIC)


class _Line:
    """Work done one after another by a task of its own, whatever happens to each."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: asyncio.Queue[_Work | None] = asyncio.Queue()
        self._left = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._task = asyncio.create_task(self._run(), name=name)

    def put(self, work: _Work) -> None:
        self._left += 1
        self._empty.clear()
        self._work.put_nowait(work)

    async def empty(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    async def aclose(self, until: float) -> None:
        self._work.put_nowait(None)
        await asyncio.wait([self._task], timeout=max(_CANCEL_S, until - time.monotonic()))
        if not self._task.done():
            log.error("turns_left_undone", line=self._name, left=self._left)
            self._task.cancel()
            # Not awaited without an end: what is waited for may not mind a cancellation.
            await asyncio.wait([self._task], timeout=_CANCEL_S)

    async def _run(self) -> None:
        while (work := await self._work.get()) is not None:
            try:
                await work()
            except ApplianceError as error:
                log.error("turn_not_done", line=self._name, code=error.code, why=str(error))
            except Exception as error:  # noqa: BLE001 - one turn's failure must not be the next one's
                log.error("turn_not_done", line=self._name, error=type(error).__name__)
            finally:
                self._left -= 1
                if not self._left:
                    self._empty.set()
