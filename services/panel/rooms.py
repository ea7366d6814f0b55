"""LiveKit's rooms: made, looked into and closed. Every call has a deadline."""

from __future__ import annotations

import datetime
import json
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import aiohttp
from livekit import api

from appliance import logs
from appliance.errors import NotReady, Refused
from appliance.secrets import LiveKitKeys

AGENT_NAME = "appliance"
AGENT_PREFIX = "agent-"
OUTSIDE_AGENT_PREFIX = "external-"
"""Agents of somebody else, let in beside the box's own; they are no callers."""
CALL_ATTRIBUTE = "earshot.call"
"""Says which call a token is for: a room's name may be given to a later one."""
SAY_TOPIC = "appliance.say"
# LiveKit answers in milliseconds; CreateDispatch waits for a worker.
_TIMEOUT_S = 3.0
_WORKER_S = 1.0
_EMPTY_TIMEOUT_S = 60
_DEPARTURE_TIMEOUT_S = 30
# The caller and the agent, and an agent that takes over while the dead one is still listed.
_MAX_PARTICIPANTS = 4
_MAX_PARTICIPANTS_SHARED = 20

log = logs.get(__name__)
Answer = TypeVar("Answer")


def caller_identity(session_id: str) -> str:
    """How the caller is called in the room."""
    return f"caller-{session_id}"


def is_caller(identity: str) -> bool:
    """Whether this is a person rather than an agent."""
    return not identity.startswith((AGENT_PREFIX, OUTSIDE_AGENT_PREFIX))


@dataclass(frozen=True)
class Visitor:
    """Who is let into a room, and what they may do there."""

    identity: str
    name: str = ""
    ttl_s: int | None = None
    """How long the token may be used to join; None: as the settings say."""
    speaks: bool = True
    """Whether the microphone may be published; text always may."""
    is_agent: bool = False
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JoinToken:
    """What lets one caller into one room."""

    token: str
    expires_at: datetime.datetime


class Rooms(Protocol):
    """What the panel asks of a media server."""

    async def create(self, room: str, *, shared: bool = False) -> None:
        """Make the room, without an agent, or leave it as it is; ``shared``: for many callers."""

    async def names(self) -> set[str]:
        """Every room there is."""

    async def people(self, room: str) -> dict[str, str]:
        """Who is in the room, each with the call of their token if it names one."""

    async def dispatch(self, room: str, metadata: str) -> str:
        """Send an agent into an existing room; the dispatch's id."""

    async def taken(self, room: str, dispatch_id: str) -> bool:
        """Whether a worker took this dispatch; LiveKit offers it once and never again."""

    async def remove(self, room: str, identity: str) -> None:
        """Put someone out of the room; no error if they are not there."""

    async def delete(self, room: str) -> None:
        """Close the room; no error if there is none."""

    async def say(self, room: str, identity: str, code: str) -> None:
        """Ask this agent to say one of its recordings; no error if it is not there."""

    async def notify(self, room: str, code: str, message: str) -> None:
        """Send a notice to everyone in the room; no error if there is nobody."""

    def token(self, room: str, visitor: Visitor) -> JoinToken:
        """A token for this room and nothing else."""

    def webhook_is_genuine(self, body: str, authorization: str) -> bool:
        """Whether this webhook was signed by the media server."""

    async def close(self) -> None:
        """Let go of connections."""


class LiveKitRooms:
    """Rooms of a livekit-server.

    Args:
        url: its HTTP address.
        keys: what signs requests and tokens.
        token_ttl_s: how long a caller's token may be used to join, in seconds.
        worker: socket of the box's own worker.
    """

    def __init__(self, url: str, keys: LiveKitKeys, token_ttl_s: int, worker: Path) -> None:
        self._keys = keys
        self._worker = worker
        self._ttl = datetime.timedelta(seconds=token_ttl_s)
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        self._http = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        # Failover would look for other regions of its maker's cloud.
        self._livekit = api.LiveKitAPI(
            url, keys.api_key, keys.api_secret, session=self._http, failover=False
        )
        self._receiver = api.WebhookReceiver(api.TokenVerifier(keys.api_key, keys.api_secret))

    async def create(self, room: str, *, shared: bool = False) -> None:
        """Make the room, without an agent, or leave it as it is; ``shared``: for many callers."""
        request = api.CreateRoomRequest(
            name=room,
            empty_timeout=_EMPTY_TIMEOUT_S,
            departure_timeout=_DEPARTURE_TIMEOUT_S,
            max_participants=_MAX_PARTICIPANTS_SHARED if shared else _MAX_PARTICIPANTS,
        )
        await _answered(self._livekit.room.create_room(request))

    async def names(self) -> set[str]:
        """Every room there is."""
        found = await _answered(self._livekit.room.list_rooms(api.ListRoomsRequest()))
        return {room.name for room in found.rooms}

    async def people(self, room: str) -> dict[str, str]:
        """Who is in the room, each with the call of their token if it names one."""
        request = api.ListParticipantsRequest(room=room)
        found = await _answered(self._livekit.room.list_participants(request))
        here = [one for one in found.participants if one.state != api.ParticipantInfo.DISCONNECTED]
        return {one.identity: one.attributes.get(CALL_ATTRIBUTE, "") for one in here}

    async def dispatch(self, room: str, metadata: str) -> str:
        """Send an agent into an existing room; the dispatch's id."""
        wanted = api.CreateAgentDispatchRequest(agent_name=AGENT_NAME, room=room, metadata=metadata)
        made = await _answered(self._livekit.agent_dispatch.create_dispatch(wanted))
        return made.id

    async def taken(self, room: str, dispatch_id: str) -> bool:
        """Whether a worker took this dispatch; LiveKit offers it once and never again."""
        # Once a minute LiveKit waits five seconds for further kinds of workers before it notes
        # who took a dispatch; the box's own worker knows at once.
        if await self._own_worker_took(dispatch_id):
            return True
        found = await _answered(self._livekit.agent_dispatch.get_dispatch(dispatch_id, room))
        return found is not None and len(found.state.jobs) > 0

    async def _own_worker_took(self, dispatch_id: str) -> bool:
        connector = aiohttp.UnixConnector(str(self._worker))
        timeout = aiohttp.ClientTimeout(total=_WORKER_S)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
                http.get(f"http://agent/dispatches/{dispatch_id}") as answer,
            ):
                return answer.status == 200
        except (TimeoutError, aiohttp.ClientError):
            return False

    async def remove(self, room: str, identity: str) -> None:
        """Put someone out of the room; no error if they are not there."""
        who = api.RoomParticipantIdentity(room=room, identity=identity)
        try:
            await _answered(self._livekit.room.remove_participant(who))
        except _NotThere:
            log.debug("participant_already_gone", room=room, identity=identity)

    async def delete(self, room: str) -> None:
        """Close the room; no error if there is none."""
        try:
            await _answered(self._livekit.room.delete_room(api.DeleteRoomRequest(room=room)))
        except _NotThere:
            log.debug("room_already_gone", room=room)

    async def say(self, room: str, identity: str, code: str) -> None:
        """Ask this agent to say one of its recordings; no error if it is not there."""
        request = api.SendDataRequest(
            room=room,
            data=code.encode(),
            kind=api.DataPacket.Kind.RELIABLE,
            destination_identities=[identity],
            topic=SAY_TOPIC,
        )
        try:
            await _answered(self._livekit.room.send_data(request))
        except _NotThere:
            log.debug("nobody_to_say_it", room=room, identity=identity)

    async def notify(self, room: str, code: str, message: str) -> None:
        """Send a notice to everyone in the room; no error if there is nobody."""
        request = api.SendDataRequest(
            room=room,
            data=json.dumps({"code": code, "message": message}).encode(),
            kind=api.DataPacket.Kind.RELIABLE,
            topic="appliance.notice",
        )
        try:
            await _answered(self._livekit.room.send_data(request))
        except _NotThere:
            log.debug("nobody_to_notify", room=room)

    def token(self, room: str, visitor: Visitor) -> JoinToken:
        """A token for one room: its microphone, text; no rights over rooms."""
        ttl = self._ttl if visitor.ttl_s is None else datetime.timedelta(seconds=visitor.ttl_s)
        expires_at = datetime.datetime.now(datetime.UTC) + ttl
        grants = api.VideoGrants(
            room_join=True,
            room=room,
            can_publish=visitor.speaks,
            can_publish_sources=["microphone"] if visitor.speaks else None,
            can_publish_data=True,
            can_subscribe=True,
            # How an agent says that it listens, thinks or speaks.
            can_update_own_metadata=True if visitor.is_agent else None,
        )
        token = (
            api.AccessToken(self._keys.api_key, self._keys.api_secret)
            .with_identity(visitor.identity)
            .with_name(visitor.name)
            .with_ttl(ttl)
            .with_grants(grants)
        )
        if visitor.is_agent:
            token = token.with_kind("agent")
        if visitor.metadata:
            token = token.with_metadata(visitor.metadata)
        if visitor.attributes:
            token = token.with_attributes(visitor.attributes)
        return JoinToken(token.to_jwt(), expires_at)

    def webhook_is_genuine(self, body: str, authorization: str) -> bool:
        """Whether this webhook was signed by our server, over exactly these bytes."""
        try:
            self._receiver.receive(body, authorization)
        except Exception as error:  # noqa: BLE001 - the verifier raises bare Exception for a bad hash
            log.warning("webhook_refused", kind=type(error).__name__)
            return False
        return True

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


class _NotThere(NotReady):
    """LiveKit knows no such room or participant."""


async def _answered(request: Awaitable[Answer]) -> Answer:
    """Await one request to LiveKit.

    Raises:
        NotReady: it does not answer (``livekit_unavailable``), or not found (``_NotThere``).
        Refused: it refused; the keys do not match.
    """
    try:
        return await request
    except api.TwirpError as error:
        if error.code == api.TwirpErrorCode.NOT_FOUND:
            raise _NotThere("room_unknown", "The call's room does not exist.") from error
        if error.status in (401, 403):
            raise Refused(
                "livekit_refused", "The media server does not accept the box's keys.",
                "Restart the box, so that both read the same keys.",
            ) from error  # fmt: skip
        log.warning("livekit_error", code=error.code, status=error.status)
        raise _unavailable() from error
    except (TimeoutError, aiohttp.ClientError) as error:
        raise _unavailable() from error


def _unavailable() -> NotReady:
    return NotReady(
        "livekit_unavailable", "The media server does not answer.",
        "It is started again by itself; try again in a few seconds.", can_retry=True,
    )  # fmt: skip
