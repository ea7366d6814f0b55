"""Who did what, on a page."""

from __future__ import annotations

import asyncio
import re

from fastapi import APIRouter, Request, Response

from appliance.store import Store
from services.panel.pages import render

router = APIRouter(prefix="/access/audit", include_in_schema=False)
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "": ("Everything", ()),
    "owner": ("Signing in", ("owner.", "password.")),
    "access": ("Keys, links and tokens", ("key.", "link.", "token.", "agent_token.")),
    "calls": ("Calls", ("call.", "calls.")),
    "models": ("Models", ("model.", "switch.", "licence.")),
    "personas": ("Personas", ("persona.",)),
    "box": ("Settings and programs", ("settings.", "program.", "bundle.")),
}
"""What can be chosen: its name, and how the actions begin."""
_AT_ONCE = 50


@router.get("")
async def audit(request: Request) -> Response:
    """The latest rows."""
    store: Store = request.app.state.store
    query = request.query_params
    kind = query.get("kind", "") if query.get("kind", "") in KINDS else ""
    given = query.get("below", "")
    below = int(given) if re.fullmatch("[0-9]{1,9}", given) else None
    rows, total = await asyncio.to_thread(store.audit.list, _AT_ONCE, below, KINDS[kind][1])
    verdict = await asyncio.to_thread(store.audit.verify) if "verify" in query else None
    shown = [
        {**row.as_json(), "detail": ", ".join(_spoken(row.detail)), "good": row.result == "ok"}
        for row in rows
    ]
    older = rows[-1].number if len(rows) == _AT_ONCE else None
    return render(
        request, "access_audit.html", active="access", tab="audit", rows=shown, total=total,
        older=older, below=below, kind=kind, kinds=KINDS, verdict=verdict,
    )  # fmt: skip


def _spoken(detail: dict[str, object]) -> list[str]:
    return [
        f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in detail.items()
    ]
