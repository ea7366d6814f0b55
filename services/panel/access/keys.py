"""Programs' keys: made, shown once, listed, revoked. The page and the API both use this."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from appliance.errors import Refused
from appliance.store import Store
from appliance.store.api_keys import ApiKey
from services.panel.access.audit import note
from services.panel.access.identity import digest_of, new_key
from services.panel.access.principal import Scope

MOST_KEYS = 200
LONGEST_DAYS = 3650
KeyName = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=80,
        pattern=r"^[^\x00-\x1f\x7f]+$",
    ),
]


class NewKey(BaseModel):
    """What a key shall be for."""

    model_config = ConfigDict(extra="forbid")
    name: KeyName = Field(description="By which you know the program.", examples=["Open WebUI"])
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=4)] = Field(
        description="What it may do: calls, speech, read, admin.", examples=[["speech"]]
    )
    expires_in_days: int | None = Field(
        90, ge=1, le=LONGEST_DAYS, description="Days until it ends by itself; null: never."
    )


class KeyView(BaseModel):
    """One key, without its secret."""

    id: str
    name: str
    scopes: list[Scope]
    state: Literal["valid", "expired", "revoked"]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None = Field(description="Last use, to the minute.")
    revoked_at: datetime | None


class MadeKey(KeyView):
    """A key that was just made."""

    key: str = Field(description="The key itself. It is shown this once.")


def view_of(key: ApiKey) -> KeyView:
    """A key as people and programs see it."""
    state: Literal["valid", "expired", "revoked"] = "valid"
    if key.revoked_at is not None:
        state = "revoked"
    elif not key.is_valid(datetime.now(UTC)):
        state = "expired"
    return KeyView(
        id=key.id, name=key.name, scopes=[Scope(one) for one in key.scopes], state=state,
        created_at=key.created_at, expires_at=key.expires_at, used_at=key.used_at,
        revoked_at=key.revoked_at,
    )  # fmt: skip


async def all_keys(request: Request) -> list[KeyView]:
    """Every key, the newest first."""
    return [view_of(key) for key in await asyncio.to_thread(_store(request).api_keys.all)]


async def make_key(request: Request, wanted: NewKey) -> MadeKey:
    """Make a key.

    Raises:
        Refused: there are too many.
    """
    store = _store(request)
    if await asyncio.to_thread(store.api_keys.count) >= MOST_KEYS:
        raise Refused(
            "too_many_keys", f"There are {MOST_KEYS} keys already.", "Delete revoked ones first."
        )
    days = wanted.expires_in_days
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    key_id, text = new_key()
    scopes = sorted({scope.value for scope in wanted.scopes})
    made = await asyncio.to_thread(
        store.api_keys.add, key_id, digest_of(text), wanted.name, scopes, expires_at
    )
    await note(request, "key.made", object=f"{wanted.name} ({key_id})", scopes=scopes)
    return MadeKey(**view_of(made).model_dump(), key=text)


async def revoke_key(request: Request, key_id: str) -> KeyView:
    """Close a key for ever, from its next request on.

    Raises:
        NotFound: there is no such key.
    """
    key = await asyncio.to_thread(_store(request).api_keys.revoke, key_id)
    await note(request, "key.revoked", object=f"{key.name} ({key_id})")
    return view_of(key)


async def delete_key(request: Request, key_id: str) -> None:
    """Close a key and forget it; the audit log still knows its name.

    Raises:
        NotFound: there is no such key.
    """
    key = await asyncio.to_thread(_store(request).api_keys.revoke, key_id)
    await asyncio.to_thread(_store(request).api_keys.delete, key_id)
    await note(request, "key.deleted", object=f"{key.name} ({key_id})")


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store
