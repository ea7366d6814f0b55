"""API keys for programs: list, make, revoke, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel

from services.panel.access import keys
from services.panel.access.keys import KeyView, MadeKey, NewKey
from services.panel.opening import Responses

router = APIRouter(prefix="/api/v1/keys", tags=["access"])
KeyId = Annotated[str, Path(pattern="^[0-9a-f]{16}$", examples=["5f0d3c2b1a998877"])]
_ERRORS: Responses = {
    400: {"description": "`bad_request`"},
    401: {"description": "`not_signed_in`"},
    403: {"description": "`scope_missing`, `too_many_keys`"},
    413: {"description": "`body_too_large`"},
}
_UNKNOWN: Responses = {**_ERRORS, 404: {"description": "`key_unknown`"}}


class KeyList(BaseModel):
    """Every key."""

    keys: list[KeyView]


@router.get("", responses=_ERRORS)
async def list_keys(request: Request) -> KeyList:
    """Every key, the newest first, without its secret."""
    return KeyList(keys=await keys.all_keys(request))


@router.post("", status_code=201, responses=_ERRORS)
async def make_key(request: Request, wanted: NewKey) -> MadeKey:
    """Make a key. Its text is in this answer and nowhere else afterwards."""
    return await keys.make_key(request, wanted)


@router.post("/{key_id}/revoke", responses=_UNKNOWN)
async def revoke_key(request: Request, key_id: KeyId) -> KeyView:
    """Close a key for ever, from its next request on."""
    return await keys.revoke_key(request, key_id)


@router.delete("/{key_id}", status_code=204, responses=_UNKNOWN)
async def delete_key(request: Request, key_id: KeyId) -> None:
    """Close a key and take it off the list."""
    await keys.delete_key(request, key_id)
