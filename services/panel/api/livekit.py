"""LiveKit for other programs: is it there, and tokens, in the shape that LiveKit's clients ask for."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from appliance.errors import ApplianceError
from services.panel.opening import Responses, desk_of, media_url
from services.panel.tokens import (
    LONGEST_TTL_S,
    AgentTokenRequest,
    Token,
    TokenRequest,
    agent_token,
    caller_token,
)

router = APIRouter(prefix="/v1/livekit", tags=["livekit"])
_ERRORS: Responses = {
    400: {"description": "`bad_request`"},
    401: {"description": "`not_signed_in`"},
    403: {
        "description": "`scope_missing`, `ttl_too_long`, `room_taken`, `identity_taken`, `call_over`, "
        "`persona_model_not_loaded`"
    },
    404: {"description": "`persona_unknown`, `persona_voice_missing`, `room_unknown`"},
    413: {"description": "`body_too_large`"},
    503: {"description": "`box_full`, `not_ready`, `livekit_unavailable`, with Retry-After."},
}


class LiveKitStatus(BaseModel):
    """The media server and the seats."""

    available: bool
    server_url: str
    room_name: str
    """The shared call that a token without a room's name joins; empty: each has its own."""
    token_ttl_s: int
    seats: int
    calls: int
    waiting: int


@router.get("/status", responses={401: _ERRORS[401], 403: {"description": "`scope_missing`"}})
async def livekit_status(request: Request) -> LiveKitStatus:
    """Whether the media server answers, its address, and how many seats are taken."""
    desk = desk_of(request)
    try:
        await desk.rooms.names()
        available = True
    except ApplianceError:
        available = False
    line = await desk.queue.line()
    return LiveKitStatus(
        available=available, server_url=media_url(request),
        room_name=desk.settings.livekit.room_name, token_ttl_s=desk.settings.livekit.token_ttl_s,
        seats=line["seats"], calls=line["open"], waiting=line["waiting"],
    )  # fmt: skip


@router.post("/token", status_code=201, responses=_ERRORS)
async def make_token(
    request: Request,
    wanted: TokenRequest | None = None,
    ttl_s: Annotated[int | None, Query(ge=30, le=LONGEST_TTL_S)] = None,
) -> Token:
    """A token for a call of its own, or for a call that an earlier token made in the named room."""
    return await caller_token(request, wanted or TokenRequest.model_validate({}), ttl_s)


@router.post("/agent-token", status_code=201, responses=_ERRORS)
async def make_agent_token(request: Request, wanted: AgentTokenRequest) -> Token:
    """A token for an agent of somebody else, beside the box's own, in a call that runs."""
    return await agent_token(request, wanted)
