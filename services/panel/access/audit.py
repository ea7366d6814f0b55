"""Writing down who did what: ``await note(request, "model.switched", object="whisper-base")``."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request

from appliance import logs
from appliance.errors import ApplianceError
from appliance.store import Store
from appliance.store.audit import Deed
from services.panel.access.principal import principal_of

log = logs.get(__name__)


async def note(
    request: Request,
    action: str,
    *,
    object: str = "",  # noqa: A002 - the audit log's own word for it
    result: str = "ok",
    actor: str = "",
    **detail: Any,
) -> None:
    """Add one row to the audit log.

    Args:
        request: says who and from where.
        action: noun and verb in the past tense, e.g. ``link.revoked``.
        object: what it was done to: an id or a name, never what somebody said.
        result: ``ok``, ``refused`` or ``failed``.
        actor: who, where the request itself does not prove it, e.g. ``guest link-7``.
        detail: more, as JSON values; no secret and no speech.
    """
    principal = principal_of(request)
    who = actor or (principal.label if principal else "stranger")
    deed = Deed(who, getattr(request.state, "address", ""), action, object, result, detail)
    store: Store = request.app.state.store
    try:
        await asyncio.to_thread(store.audit.append, deed)
    except ApplianceError as error:
        # What was done is done; a full disk must not make it look as if it were not.
        log.error("audit_not_written", action=action, code=error.code)
