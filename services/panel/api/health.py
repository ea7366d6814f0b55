"""Is the panel there, and is the box ready."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from services.panel.access.principal import Scope, principal_of
from services.panel.desk import Desk
from services.panel.readiness import Readiness

router = APIRouter()


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The panel itself is there."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request, response: Response) -> dict[str, Any]:
    """Whether the box takes calls, 503 if not; with every program's reason for whoever may read."""
    readiness: Readiness = request.app.state.readiness
    status = await readiness.look()
    if not status.ready:
        response.status_code = 503
    if not _may_know_why(request):
        return {"ready": status.ready}
    desk: Desk = request.app.state.desk
    return {
        "ready": status.ready,
        "seats": desk.seats.count,
        "programs": [
            {"name": one.name, "ready": one.ready, "why": one.why} for one in status.programs
        ],
    }


def _may_know_why(request: Request) -> bool:
    """The box's own programs, on the socket, where nobody else comes without the front door's mark."""
    principal = principal_of(request)
    if principal is not None and principal.may(Scope.READ):
        return True
    return "x-forwarded-for" not in request.headers
