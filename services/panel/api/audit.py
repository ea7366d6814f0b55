"""The audit log: read it, and check that nobody has changed it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from appliance.store import Store
from services.panel.opening import Responses

router = APIRouter(prefix="/api/v1/audit", tags=["access"])
_ERRORS: Responses = {
    400: {"description": "`bad_request`"},
    401: {"description": "`not_signed_in`"},
    403: {"description": "`scope_missing`"},
}
# SQLite keeps 64 bits; Postgres' INTEGER has 32.
_HIGHEST = 2_147_483_647


class AuditRowView(BaseModel):
    """One thing that was done."""

    number: int
    at: datetime
    actor: str = Field(description="`owner`, `command`, `key <name>`, a guest or `stranger`.")
    address: str
    action: str
    object: str
    result: str = Field(description="`ok`, `refused` or `failed`.")
    detail: dict[str, Any]
    before: str = Field(description="Digest of the row before.")
    digest: str


class AuditPage(BaseModel):
    """Some rows, the newest first."""

    rows: list[AuditRowView]
    total: int
    next: int | None = Field(description="`below` for the next page; null: this was the last.")


class AuditVerdict(BaseModel):
    """Whether the log is as it was written."""

    whole: bool
    rows: int = Field(description="How many rows were found right, from the first on.")
    broken_at: int | None
    last_digest: str


@router.get("", responses=_ERRORS)
async def list_audit(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    below: Annotated[
        int | None, Query(ge=1, le=_HIGHEST, description="Only rows with a smaller number.")
    ] = None,
    action: Annotated[
        str, Query(pattern=r"^[a-z_.]*$", max_length=64, description="Actions that begin so.")
    ] = "",
) -> AuditPage:
    """The latest rows."""
    store: Store = request.app.state.store
    rows, total = await asyncio.to_thread(
        store.audit.list, limit, below, (action,) if action else ()
    )
    shown = [AuditRowView(**row.as_json()) for row in rows]
    more = len(rows) == limit and rows[-1].number > 1
    return AuditPage(rows=shown, total=total, next=rows[-1].number if more else None)


@router.get("/verify", responses=_ERRORS)
async def verify_audit(request: Request) -> AuditVerdict:
    """Compute the whole chain again."""
    store: Store = request.app.state.store
    found = await asyncio.to_thread(store.audit.verify)
    return AuditVerdict(
        whole=found.broken_at is None, rows=found.rows, broken_at=found.broken_at,
        last_digest=found.last_digest,
    )  # fmt: skip
