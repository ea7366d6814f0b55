"""What happens in the panel, told to whoever listens: a bus in the process, a stream for pages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from appliance import logs
from appliance.errors import BadInput, NotReady
from services.panel.access.principal import key_of

TOPICS = frozenset({"box", "calls", "pull", "switch"})
HEARTBEAT_S = 10.0
LONGEST_S = 300.0
"""Then the page connects again, and whether it still may listen is asked again."""
MOST_LISTENERS = 100
OF_ALL_KEYS = 60
"""The rest is for the owner's pages."""
OF_ONE_KEY = 20
_QUEUE = 100
_RETRY_MS = 1000

log = logs.get(__name__)
router = APIRouter(prefix="/api/v1")


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    topic: str
    data: Mapping[str, Any]


class Subscription:
    """Events in their order, until the bus closes or this listener falls too far behind."""

    def __init__(self, bus: Bus, topics: frozenset[str], key_id: str = "") -> None:
        self.topics = topics
        self.key_id = key_id
        self._bus = bus
        self._loop = asyncio.get_running_loop()
        self._queue = asyncio.Queue[Event | None]()
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await self._queue.get()
        if event is None:
            raise StopAsyncIteration
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _where: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more; whoever waits for an event is let go."""
        self._bus.drop(self)
        if not self._over:
            self._over = True
            self._queue.put_nowait(None)

    def offer(self, event: Event | None) -> None:
        """Queue an event, None for the end; safe from any thread."""
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            self._take(event)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, event)

    def _take(self, event: Event | None) -> None:
        if event is None:
            self.close()
        elif not self._over:
            self._queue.put_nowait(event)
            if self._queue.qsize() > _QUEUE:
                log.warning("listener_dropped", topics=sorted(self.topics))
                self.close()


class Bus:
    """Hands every event to everyone who listens to its topic. Safe between threads.

    A listener that does not keep up is dropped: nobody waits for it, and nothing piles up.
    """

    def __init__(self) -> None:
        self._listeners = set[Subscription]()
        self._closed = False

    def __len__(self) -> int:
        return len(self._listeners)

    def publish(self, topic: str, data: Mapping[str, Any]) -> None:
        """Tell everyone who listens to this topic now."""
        for listener in tuple(self._listeners):
            if topic in listener.topics:
                listener.offer(Event(topic, data))

    def is_heard(self, topic: str) -> bool:
        """Whether anybody listens to this topic."""
        return any(topic in listener.topics for listener in self._listeners)

    def has_room(self, key_id: str = "") -> bool:
        """Whether one more may listen: a program with this key, or the owner."""
        of_keys = [listener.key_id for listener in self._listeners if listener.key_id]
        return len(self._listeners) < MOST_LISTENERS and (
            not key_id or (len(of_keys) < OF_ALL_KEYS and of_keys.count(key_id) < OF_ONE_KEY)
        )

    def subscribe(self, *topics: str, key_id: str = "") -> Subscription:
        """Listen from now on; iterate over it, and close it (``with``) when done."""
        listener = Subscription(self, frozenset(topics), key_id)
        if self._closed:
            listener.offer(None)
        else:
            self._listeners.add(listener)
        return listener

    def drop(self, listener: Subscription) -> None:
        """Forget a listener."""
        self._listeners.discard(listener)

    def close(self) -> None:
        """End every subscription, also those to come: the panel stops."""
        self._closed = True
        for listener in tuple(self._listeners):
            listener.offer(None)


# Endless by nature, so it is described in docs/api.md and not offered to tools that try every address.
@router.get("/events", include_in_schema=False)
async def events(
    request: Request, topics: Annotated[str, Query(max_length=100)] = "box"
) -> StreamingResponse:
    """What happens from now on, as server-sent events named after their topic."""
    wanted = frozenset(name for name in topics.split(",") if name)
    if not wanted or not wanted <= TOPICS:
        raise BadInput(
            "topic_unknown", "There is no such topic.", f"There are {', '.join(sorted(TOPICS))}."
        )
    bus: Bus = request.app.state.bus
    key_id = key_of(request)
    if not bus.has_room(key_id):
        raise NotReady(
            "not_ready", "Too many pages are listening to this box.",
            "Close some of them.", can_retry=True,
        )  # fmt: skip
    return StreamingResponse(
        stream(bus.subscribe(*wanted, key_id=key_id)),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


async def stream(
    listener: Subscription, *, heartbeat_s: float = HEARTBEAT_S, longest_s: float = LONGEST_S
) -> AsyncIterator[str]:
    """Server-sent events; a comment where nothing happened, so that a dead line is noticed."""
    loop = asyncio.get_running_loop()
    until = loop.time() + longest_s
    with listener:
        yield f"retry: {_RETRY_MS}\n\n"
        while (left := until - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(heartbeat_s, left)):
                    event = await anext(listener)
            except TimeoutError:
                yield ": nothing new\n\n"
            except StopAsyncIteration:
                return
            else:
                yield f"event: {event.topic}\ndata: {json.dumps(event.data, default=str)}\n\n"
