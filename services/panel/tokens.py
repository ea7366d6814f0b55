"""LiveKit tokens for programs of others: each makes a call, or joins one that a token made."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from contextlib import nullcontext
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from appliance.errors import BadInput, NotFound, Refused
from appliance.personas import PersonaName
from appliance.store import Session
from services.panel.access import Scope, principal_of
from services.panel.access.audit import note
from services.panel.calls import Call
from services.panel.opening import Wish, desk_of, media_url, open_call, visit_of
from services.panel.rooms import (
    AGENT_NAME,
    CALL_ATTRIBUTE,
    OUTSIDE_AGENT_PREFIX,
    JoinToken,
    Visitor,
    caller_identity,
    is_caller,
)

LONGEST_TTL_S = 86_400
METADATA_BYTES = 4096
_ATTRIBUTES = 32
_KEPT = ("lk.", "earshot.")
OWN_ROOMS = ("call-", "ended-", "doctor-")
"""How rooms' names begin that the box gives by itself."""
_PERSONA = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_PLAIN = r"^[^\x00-\x1f\x7f]*$"
RoomName = Annotated[
    str, StringConstraints(max_length=64, pattern=r"^([A-Za-z0-9][A-Za-z0-9 _.:@+-]*)?$")
]
Identity = Annotated[str, StringConstraints(max_length=120, pattern=_PLAIN)]
Metadata = Annotated[str, StringConstraints(max_length=METADATA_BYTES, pattern=r"^[^\x00]*$")]
AttributeName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_PLAIN)]
AttributeValue = Annotated[str, StringConstraints(max_length=1024, pattern=r"^[^\x00]*$")]
Ttl = Annotated[int, Field(ge=30, le=LONGEST_TTL_S)]


class WantedAgent(BaseModel):
    """Who shall answer, in LiveKit's words; whatever else stands there is not read."""

    model_config = ConfigDict(extra="ignore")
    agent_name: str = Field("", max_length=80, pattern=_PLAIN)
    metadata: str = Field("", pattern=r"^[^\x00]*$")


class RoomConfig(BaseModel):
    """LiveKit's room configuration, of which only the agent is read."""

    model_config = ConfigDict(extra="ignore")
    agents: list[WantedAgent] = Field(default_factory=list, max_length=8)


class TokenRequest(BaseModel):
    """LiveKit's token-endpoint convention, and our own ``persona`` and ``ttl_s``."""

    model_config = ConfigDict(extra="forbid")
    room_name: RoomName | None = Field(None, description="Empty: a call of its own.")
    participant_name: str | None = Field(None, max_length=80, pattern=_PLAIN)
    participant_identity: Identity | None = Field(None, description="Empty: a new one.")
    participant_metadata: Metadata | None = None
    participant_attributes: dict[AttributeName, AttributeValue] | None = Field(
        None, max_length=_ATTRIBUTES
    )
    room_config: RoomConfig | None = None
    persona: PersonaName | None = Field(None, description="Who answers.")
    ttl_s: Ttl | None = Field(None, description="How long it may be used to join, in seconds.")

    @model_validator(mode="after")
    def _no_foreign_names(self) -> TokenRequest:
        identity = self.participant_identity or ""
        if identity and not is_caller(identity):
            raise ValueError("participant_identity: this beginning is kept for agents")
        if any(name.startswith(_KEPT) for name in self.participant_attributes or {}):
            raise ValueError("participant_attributes: names with lk. and earshot. are kept")
        return self


class AgentTokenRequest(BaseModel):
    """An agent of somebody else that shall join a call."""

    model_config = ConfigDict(extra="forbid")
    room_name: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_PLAIN)]
    identity: str | None = Field(None, max_length=100, pattern=r"^[A-Za-z0-9_.-]*$")
    name: str = Field("", max_length=80, pattern=_PLAIN)
    ttl_s: Ttl | None = Field(None, description="How long it may be used to join, in seconds.")


class Token(BaseModel):
    """The way into a room. The first two are LiveKit's convention."""

    server_url: str
    participant_token: str
    room_name: str
    identity: str
    session_id: str
    expires_at: str


async def caller_token(request: Request, wanted: TokenRequest, ttl_s: int | None) -> Token:
    """Take a seat for a new call, or let one more into a call that a token made.

    Raises:
        Refused: the room is somebody else's, the key may not have so long a token, or the persona
            cannot be served.
        NotFound: there is no such persona.
        NotReady: the box is full or not ready.
    """
    desk = desk_of(request)
    lasting_s = _ttl(request, wanted.ttl_s or ttl_s)
    name = wanted.participant_name or ""
    room = wanted.room_name or desk.settings.livekit.room_name
    persona = _persona(wanted, desk.settings.persona)
    session: Session | None = None
    # One at a time for a named room: two who ask for a new one at once are to meet in it.
    async with desk.naming if room else nullcontext():
        if room:
            session = await _open_call_in(request, room)
        if session is None:
            visit = replace(visit_of(request, name), origin="token")
            wish = Wish(persona, visit, room_name=room)
            session = await open_call(request, wish)
            identity = wanted.participant_identity or caller_identity(session.id)
        else:
            identity = wanted.participant_identity or f"guest-{secrets.token_hex(6)}"
        _name(request, desk.book.add(session), identity)
    attributes = {**(wanted.participant_attributes or {}), CALL_ATTRIBUTE: session.id}
    visitor = Visitor(
        identity, name, lasting_s, metadata=wanted.participant_metadata or "",
        attributes=attributes,
    )  # fmt: skip
    join = desk.rooms.token(session.room_name, visitor)
    await note(request, "token.minted", object=session.id, room=session.room_name)
    return _token(request, session, identity, join)


async def agent_token(request: Request, wanted: AgentTokenRequest) -> Token:
    """Let an agent of somebody else into a call that runs.

    Raises:
        NotFound: there is no such call.
    """
    desk = desk_of(request)
    lasting_s = _ttl(request, wanted.ttl_s)
    session = await asyncio.to_thread(desk.store.sessions.in_room, wanted.room_name)
    if session is None or not session.is_open:
        raise NotFound(
            "room_unknown", "There is no call in this room.", "Look at /api/v1/sessions."
        )
    identity = OUTSIDE_AGENT_PREFIX + (wanted.identity or secrets.token_hex(6))
    attributes = {CALL_ATTRIBUTE: session.id}
    visitor = Visitor(identity, wanted.name, lasting_s, is_agent=True, attributes=attributes)
    join = desk.rooms.token(session.room_name, visitor)
    await note(request, "agent_token.minted", object=session.id, room=session.room_name)
    return _token(request, session, identity, join)


async def _open_call_in(request: Request, room: str) -> Session | None:
    """The open call of this room, which tokens may join; None if there is none.

    Raises:
        Refused: it is no call of tokens, or a name that the box gives by itself.
    """
    if not room.startswith(OWN_ROOMS):
        session = await asyncio.to_thread(desk_of(request).store.sessions.in_room, room)
        if session is None or not session.is_open:
            return None
        if session.origin == "token":
            return session
    raise Refused(
        "room_taken", "This room is not open to tokens.",
        "Leave the room's name out, or choose another one.",
    )  # fmt: skip


def _name(request: Request, call: Call, identity: str) -> None:
    """Note whose this identity is: LiveKit would put the first one out for a second.

    Raises:
        Refused: it belongs to another key.
    """
    principal = principal_of(request)
    key = (principal and principal.key_id) or ""
    if call.names.get(identity, key) != key and not (principal and principal.may(Scope.ADMIN)):
        raise Refused(
            "identity_taken", "Another key made a token for this identity in this call.",
            "Leave the identity out, or choose another one.",
        )  # fmt: skip
    call.names[identity] = key


def _persona(wanted: TokenRequest, default: str) -> str:
    """Who shall answer: said plainly, by the agent's name, or in the agent's metadata.

    Raises:
        BadInput: the metadata is too long.
        NotFound: no persona can have that name.
    """
    agents = wanted.room_config.agents if wanted.room_config else []
    agent = agents[0] if agents else WantedAgent(agent_name="", metadata="")
    if len(agent.metadata.encode()) > METADATA_BYTES:
        raise BadInput(
            "bad_request", "The agent's metadata is over 4 KiB.", "Leave out what is not needed."
        )
    named = agent.agent_name if agent.agent_name != AGENT_NAME else ""
    persona = wanted.persona or _named_in(agent.metadata) or named or default
    if not _PERSONA.match(persona):
        raise NotFound(
            "persona_unknown", "There is no persona of that name.",
            "The agent's name is `appliance`, or a persona's.",
        )  # fmt: skip
    return persona


def _named_in(metadata: str) -> str:
    try:
        told: Any = json.loads(metadata) if metadata else {}
    except (ValueError, RecursionError):
        # Somebody else's words, for somebody else's agent.
        return ""
    persona = told.get("persona") if isinstance(told, dict) else None
    return persona if isinstance(persona, str) else ""


def _ttl(request: Request, asked_s: int | None) -> int | None:
    """How long a token may be used to join; None: as the settings say.

    Raises:
        Refused: so long needs the scope ``admin``.
    """
    usual_s = desk_of(request).settings.livekit.token_ttl_s
    principal = principal_of(request)
    if asked_s is not None and asked_s > usual_s and not (principal and principal.may(Scope.ADMIN)):
        raise Refused(
            "ttl_too_long", f"This key's tokens last {usual_s} s at most.",
            "Ask for less, or use a key with the scope admin.",
        )  # fmt: skip
    return asked_s


def _token(request: Request, session: Session, identity: str, join: JoinToken) -> Token:
    return Token(
        server_url=media_url(request), participant_token=join.token, room_name=session.room_name,
        identity=identity, session_id=session.id, expires_at=join.expires_at.isoformat(),
    )  # fmt: skip
