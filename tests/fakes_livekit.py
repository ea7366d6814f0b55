"""A media server at the panel's boundary: rooms and who is in them, in memory."""

from __future__ import annotations

import asyncio
import datetime
import json
from dataclasses import dataclass, field
from typing import Any

from appliance.errors import NotReady
from services.panel.rooms import JoinToken, Visitor


@dataclass(frozen=True)
class Dispatch:
    """An agent that was sent for."""

    room: str
    metadata: dict[str, Any]


@dataclass
class FakeRooms:
    """Implements ``services.panel.rooms.Rooms``.

    ``down``: nobody answers; ``workerless``: no worker takes a dispatch; ``hangs``: who asks for
    rooms waits for ever, and ``hanging`` is set.
    """

    down: bool = False
    workerless: bool = False
    hangs: bool = False
    hanging: bool = False
    rooms: dict[str, set[str]] = field(default_factory=dict)
    dispatches: list[Dispatch] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    removed: list[tuple[str, str]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    shared: set[str] = field(default_factory=set)
    said: list[tuple[str, str, str]] = field(default_factory=list)
    notified: list[tuple[str, str]] = field(default_factory=list)
    calls: dict[str, str] = field(default_factory=dict)
    visitors: list[Visitor] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def join(self, room: str, identity: str, session_id: str = "") -> None:
        """Someone comes in, with a token of this call."""
        self.rooms[room].add(identity)
        self.calls[identity] = session_id

    def leave(self, room: str, identity: str) -> None:
        """Someone goes."""
        self.rooms[room].discard(identity)

    def restart(self) -> None:
        """The server forgets everything."""
        self.rooms.clear()

    async def create(self, room: str, *, shared: bool = False) -> None:
        """Make the room."""
        self._answer()
        if shared:
            self.shared.add(room)
        self.rooms.setdefault(room, set())
        self.created.append(room)

    async def names(self) -> set[str]:
        """Every room."""
        self._answer()
        if self.hangs:
            self.hanging = True
            await asyncio.Event().wait()
        return set(self.rooms)

    async def people(self, room: str) -> dict[str, str]:
        """Who is there, by the token of which call."""
        self._answer()
        return {name: self.calls.get(name, "") for name in self.rooms.get(room, set())}

    async def dispatch(self, room: str, metadata: str) -> str:
        """Note that an agent was sent for."""
        self._answer()
        async with self.changed:
            self.dispatches.append(Dispatch(room, json.loads(metadata)))
            self.changed.notify_all()
        return f"dispatch-{len(self.dispatches)}"

    async def taken(self, room: str, dispatch_id: str) -> bool:
        """Whether a worker took it."""
        self._answer()
        return bool(room and dispatch_id) and not self.workerless

    async def remove(self, room: str, identity: str) -> None:
        """Put someone out."""
        self._answer()
        self.removed.append((room, identity))
        self.rooms.get(room, set()).discard(identity)

    async def delete(self, room: str) -> None:
        """Close the room."""
        self._answer()
        if self.rooms.pop(room, None) is not None:
            self.deleted.append(room)

    async def say(self, room: str, identity: str, code: str) -> None:
        """Note what an agent was asked to say."""
        self._answer()
        self.said.append((room, identity, code))

    async def notify(self, room: str, code: str, message: str) -> None:
        """Note what everyone was told."""
        self._answer()
        if room in self.rooms and message:
            self.notified.append((room, code))

    def token(self, room: str, visitor: Visitor) -> JoinToken:
        """Not a token: the real ones are tested with the real class."""
        self.visitors.append(visitor)
        expires_at = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
        return JoinToken(f"token of {visitor.identity} {visitor.name}", expires_at)

    def webhook_is_genuine(self, body: str, authorization: str) -> bool:
        """One word is the signature."""
        return authorization == "signed" and bool(body)

    async def close(self) -> None:
        """Nothing to let go of."""

    def _answer(self) -> None:
        if self.down:
            raise NotReady("livekit_unavailable", "The media server does not answer.")


@dataclass
class ManualClock:
    """Seconds that pass when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        """The moment."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
