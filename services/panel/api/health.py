"""Is the panel there, and is the box ready."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from services.panel.desk import Desk
from services.panel.readiness import Readiness

router = APIRouter()


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The panel itself is there."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request, response: Response) -> dict[str, Any]:
    """Whether the box takes calls; 503 with every program's reason if not."""
    readiness: Readiness = request.app.state.readiness
    status = await readiness.look()
    if not status.ready:
        response.status_code = 503
    desk: Desk = request.app.state.desk
    return {
        "ready": status.ready,
        "seats": desk.seats.count,
        "programs": [
            {"name": one.name, "ready": one.ready, "why": one.why} for one in status.programs
        ],
    }
