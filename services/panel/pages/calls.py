"""The calls: those that are held now, and those that were."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, ValidationError

from appliance.errors import BadInput
from appliance.settings import Settings
from appliance.store import Session, Turn
from appliance.store.searching import Wanted
from services.panel import callviews, records
from services.panel.api.calls import LONGEST_DAYS
from services.panel.backups.office import backups_of
from services.panel.callviews import Live
from services.panel.desk import Desk
from services.panel.pages import render
from services.panel.records import CallId, CallQuery, Feedback, StateName

router = APIRouter(include_in_schema=False)
_MOST_LIVE = 64
_LATEST_TURNS = 8
_AGES = (1, 7, 30, 90, 365)


class PageQuery(CallQuery):
    """What the page of calls can be asked for."""

    state: StateName = "ended"
    limit: int = Field(25, ge=1, le=200)
    deleted: int | None = Field(None, ge=0, le=10**9)
    """How many calls were just deleted, to be said."""


@router.get("/calls")
async def calls_page(request: Request, query: Annotated[PageQuery, Query()]) -> Response:
    """Calls that are held now, and a search through those that have ended."""
    page = await records.find(request, query)
    store = records.store_of(request)
    still_held = await backups_of(request).still_held() if query.deleted else ""
    fields = query.model_dump(exclude={"cursor", "limit", "deleted"}, by_alias=True)
    asked = {name: value for name, value in fields.items() if value}
    return render(
        request, "calls.html", active="calls", views=callviews, query=query, page=page,
        personas=await asyncio.to_thread(store.calls.personas),
        lives=await _lives(request),
        searching=any(value for name, value in asked.items() if name != "state")
        or query.state != "ended",
        older=urlencode({**asked, "cursor": page.cursor}) if page.cursor else "",
        newest=urlencode(asked),
        keep_days=_settings(request).access.keep_calls_days, still_held=still_held,
    )  # fmt: skip


@router.get("/calls/live")
async def live(request: Request) -> Response:
    """The open calls, for a page that looks again and again."""
    return render(request, "_calls_live.html", views=callviews, lives=await _lives(request))


@router.get("/calls/deletion")
async def deletion(
    request: Request, older_than_days: Annotated[str, Query(max_length=6)] = "30"
) -> Response:
    """What a deletion would take away."""
    days = _days(older_than_days)
    number = await records.count(request, days)
    return render(request, "_calls_deletion.html", days=days, ages=_AGES, number=number)


@router.post("/calls/deletion")
async def delete_many(
    request: Request, older_than_days: Annotated[str, Query(max_length=6)]
) -> Response:
    """Delete the calls that were counted."""
    gone = await records.delete_many(request, _days(older_than_days))
    return _go(f"/calls?deleted={gone.calls}")


@router.get("/calls/{session_id}")
async def call_page(request: Request, session_id: CallId) -> Response:
    """One call: what was said, how fast, how it ended."""
    session, turns = await records.read(request, session_id)
    values = await _call_values(request, session, turns)
    return render(request, "call.html", active="calls", **values)


@router.get("/calls/{session_id}/words")
async def words(request: Request, session_id: CallId) -> Response:
    """What has been said so far, for a page that looks again and again."""
    session, turns = await records.look(request, session_id)
    return render(request, "_call_words.html", **await _call_values(request, session, turns))


@router.post("/calls/{session_id}/feedback")
async def feedback(request: Request, session_id: CallId) -> Response:
    """What the owner thinks of the call."""
    form = await request.form()
    try:
        said = Feedback.model_validate(
            {"thumb": _thumb(form.get("thumb")), "note": form.get("note", "")}
        )
    except ValidationError as error:
        raise BadInput(
            "feedback_invalid", "This note cannot be kept.", "It may have 2,000 characters."
        ) from error
    store = records.store_of(request)
    session = await records.judge(store, session_id, "owner", said)
    return render(request, "_call_feedback.html", session=session, saved=True)


@router.post("/calls/{session_id}/delete")
async def delete_one(request: Request, session_id: CallId) -> Response:
    """Delete this call."""
    gone = await records.delete_one(request, session_id)
    return _go(f"/calls?deleted={gone.calls}")


async def _lives(request: Request) -> list[Live]:
    desk: Desk = request.app.state.desk
    return await asyncio.to_thread(_read_lives, desk)


def _read_lives(desk: Desk) -> list[Live]:
    found = []
    for one in desk.store.calls.search(Wanted(state="active"), limit=_MOST_LIVE).calls:
        turns = desk.store.turns.list(one.session.id)
        found.append(
            Live(
                one.session, one.link_name, turns[-_LATEST_TURNS:],
                callviews.doing(desk.book.get(one.session.id), one.session, turns),
                callviews.lasted(one.session),
            )
        )  # fmt: skip
    return found


async def _call_values(request: Request, session: Session, turns: Sequence[Turn]) -> dict[str, Any]:
    desk: Desk = request.app.state.desk
    name = await asyncio.to_thread(desk.store.calls.link_name, session)
    return {
        "views": callviews,
        "session": session,
        "turns": turns,
        "link_name": name,
        "scale": callviews.scale_ms(turns),
        "doing": callviews.doing(desk.book.get(session.id), session, turns),
        "kept_until": callviews.kept_until(session, _settings(request)),
    }


def _thumb(value: object) -> int | None:
    return {"up": 1, "down": -1}.get(str(value))


def _days(text: str) -> int | None:
    """Days of age; None: whatever their age."""
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text) > LONGEST_DAYS:
        raise BadInput("bad_request", "This is no number of days.")
    return int(text)


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _go(address: str) -> Response:
    return Response(status_code=204, headers={"HX-Redirect": address})
