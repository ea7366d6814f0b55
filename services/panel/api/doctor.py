"""The doctor, for programs: the box's checks, model digests, a browser's test room, the spoken loop."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from appliance.errors import ApplianceError, BadInput
from appliance.settings import Settings
from services.panel.access.audit import note
from services.panel.api.settings import keeper_of
from services.panel.desk import Desk
from services.panel.doctor.bundle import make_bundle
from services.panel.doctor.checking import Checkup, Checkups
from services.panel.doctor.digests import DigestCheck, DigestState
from services.panel.doctor.loop import Loop, recorded_question, speak_and_hear
from services.panel.doctor.rooms import RoomName, TestRoom, open_room
from services.panel.opening import media_url
from services.panel.readiness import Readiness

router = APIRouter(prefix="/api/v1/doctor", tags=["doctor"])

_LIVEKIT: dict[int | str, dict[str, Any]] = {
    503: {"description": "`livekit_unavailable`, or `not_ready`: too many tests are under way."}
}
_SOUND = {
    "requestBody": {
        "description": "A recording of some seconds, at most 512 KiB; nothing where `sample` is true.",
        "content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("")
async def checkup(request: Request) -> Checkup:
    """Every check of the box, each with what to do."""
    return await checkups_of(request).look()


@router.get("/digests")
async def digest_state(request: Request) -> DigestState:
    """How far the check of the models' bytes is."""
    return digests_of(request).state()


@router.post("/digests", status_code=202)
async def check_digests(request: Request) -> DigestState:
    """Begin to compare every byte of every model with its SHA-256; one check at a time."""
    return digests_of(request).start()


@router.post("/rooms", status_code=201, responses=_LIVEKIT)
async def open_test_room(request: Request) -> TestRoom:
    """A room without an agent, to try the way to the media ports in. It takes no seat."""
    desk = _desk(request)
    return await open_room(desk.settings, desk.rooms, media_url(request))


@router.delete("/rooms/{room_name}", status_code=204, responses=_LIVEKIT)
async def close_test_room(request: Request, room_name: Annotated[RoomName, Path()]) -> Response:
    """Close it; without this it goes by itself after a minute."""
    await _desk(request).rooms.delete(room_name)
    return Response(status_code=204)


@router.post("/loop", openapi_extra=_SOUND, responses={400: {"description": "`audio_missing`"}})
async def spoken_loop(
    request: Request,
    sample: Annotated[bool, Query(description="Use a recorded question of the box's own.")] = False,
) -> Loop:
    """Let the box hear a recording and say what it heard. Neither is kept."""
    if sample:
        sound, kind = await asyncio.to_thread(recorded_question), "audio/flac"
    else:
        sound, kind = await request.body(), "audio/wav"
    if not sound:
        raise BadInput(
            "audio_missing", "There is no recording in the request.",
            "Send a wav of some seconds, or ask with `sample=true`.",
        )  # fmt: skip
    settings: Settings = request.app.state.settings
    return await speak_and_hear(settings, request.app.state.services, sound, kind)


@router.get(
    "/bundle", response_class=Response, responses={200: {"content": {"application/zip": {}}}}
)
async def bundle(request: Request) -> Response:
    """A zip for somebody who helps: findings, versions, settings and logs, without secrets or words."""
    settings: Settings = request.app.state.settings
    readiness: Readiness = request.app.state.readiness
    parts = {
        "doctor.json": (await checkups_of(request).look()).model_dump(mode="json"),
        "status.json": dataclasses.asdict(await readiness.look()),
    }
    try:
        toml = await asyncio.to_thread(keeper_of(request).export)
    except ApplianceError as error:
        toml = f"# {error}\n"
    made = await asyncio.to_thread(make_bundle, settings, request.app.state.store, parts, toml)
    await note(request, "bundle.exported")
    name = f"earshot-{datetime.now(UTC):%Y%m%d-%H%M}.zip"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(made, media_type="application/zip", headers=headers)


def checkups_of(request: Request) -> Checkups:
    """The box's checks."""
    found: Checkups = request.app.state.checkups
    return found


def digests_of(request: Request) -> DigestCheck:
    """The check of the models' bytes."""
    found: DigestCheck = request.app.state.digests
    return found


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk
