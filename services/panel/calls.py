"""What the panel knows about each open call beyond what the store keeps."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from appliance.personas import find_persona
from appliance.settings import Settings
from appliance.store import Session
from services.panel.rooms import AGENT_PREFIX

DEATHS_WINDOW_S = 60.0
DEATHS_ALLOWED = 4
"""One more death within the window ends the call."""
# Before the first, second, third and fourth new agent. The first is at once: the caller waits.
_BACKOFF_S = (0.0, 0.5, 1.0, 2.0)

Clock = Callable[[], float]


@dataclass(eq=False)
class Job:
    """One agent process that holds its stream open."""

    pid: int
    identity: str
    released: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the panel is done with it; its stream is then answered and closed."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its stream has ended."""


@dataclass(eq=False)
class Call:
    """One open call. All moments are the panel's clock, in seconds."""

    session: Session
    opened_at: float
    agent_missing_since: float
    being_made: bool = False
    caller_missing_since: float | None = None
    unheld_since: float | None = None
    job: Job | None = None
    dead: set[str] = field(default_factory=set)
    deaths: deque[float] = field(default_factory=deque)
    dispatch_at: float | None = None
    last_dispatch: float | None = None
    dispatch_id: str = ""
    agentless_since: float | None = None
    agents_present: set[str] = field(default_factory=set)
    closing_since: float | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    told: set[str] = field(default_factory=set)
    """Notices about the end of this call that were given."""
    names: dict[str, str] = field(default_factory=dict)
    """Identities that tokens of this call were made for, and the key of each; empty: no key."""

    def __post_init__(self) -> None:
        # The stored name may be given to a later call once this one has ended.
        self.room = self.session.room_name

    @property
    def is_shared(self) -> bool:
        """Whether several callers may be in it."""
        return self.session.origin == "token"

    def longest_s(self, limit_s: float) -> float:
        """How long it may last, where the box's own limit is ``limit_s``; both in seconds."""
        return min(self.session.max_s or limit_s, limit_s)

    def see(self, identities: set[str]) -> None:
        """Note which agents are in the room."""
        self.agents_present = {name for name in identities if name.startswith(AGENT_PREFIX)}

    @property
    def living_agents(self) -> set[str]:
        """Agents in the room that are not known to be dead."""
        return self.agents_present - self.dead

    def count_death(self, now: float) -> bool:
        """Note an agent's death and when the next may come; False if there were too many."""
        while self.deaths and now - self.deaths[0] > DEATHS_WINDOW_S:
            self.deaths.popleft()
        self.deaths.append(now)
        if len(self.deaths) > DEATHS_ALLOWED:
            return False
        self.dispatch_at = now + _BACKOFF_S[len(self.deaths) - 1]
        return True


class Book:
    """The open calls this process knows.

    Attributes:
        clock: seconds that only go forward.
        changed: called whenever a call has come or gone.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.changed: Callable[[], None] = lambda: None
        self._calls: dict[str, Call] = {}

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._calls.values()))

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, session: Session) -> Call:
        """Know this call; one that is older than this process counts from when it was made."""
        if session.id not in self._calls:
            now = self.clock()
            age = (datetime.now(UTC) - session.created_at).total_seconds()
            self._calls[session.id] = Call(session, now - max(0.0, age), now)
            self.changed()
        return self._calls[session.id]

    def get(self, session_id: str) -> Call | None:
        """The open call of this id, if it is known."""
        return self._calls.get(session_id)

    def forget(self, call: Call) -> None:
        """The call is over."""
        gone = self._calls.pop(call.session.id, None)
        if call.job is not None:
            call.job.released.set()
        if gone is not None:
            self.changed()


def dispatch_metadata(settings: Settings, session: Session, *, resumed: bool) -> str:
    """What an agent is told about its call, as JSON.

    Raises:
        NotFound: the call's persona is gone.
        BadInput: its file is wrong.
    """
    persona = find_persona(session.persona, settings.persona_dirs)
    return json.dumps(
        {
            "session_id": session.id,
            "persona": persona.model_dump(mode="json"),
            "resumed": resumed,
        }
    )
