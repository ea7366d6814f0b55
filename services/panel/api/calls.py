"""Calls as records, for programs: search, read, take away, judge, end, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from appliance import transcripts
from appliance.errors import BadInput
from appliance.store import Session, Turn
from appliance.store.calls import Found
from services.panel import records
from services.panel.purge import Deletion
from services.panel.records import CallId, CallQuery, Feedback

router = APIRouter(prefix="/api/v1", tags=["calls"])
_UNKNOWN: dict[int | str, dict[str, Any]] = {
    400: {"description": "bad_request"},
    404: {"description": "session_unknown"},
}
_THEIRS = {**_UNKNOWN, 403: {"description": "scope_missing, call_of_another"}}
_BAD: dict[int | str, dict[str, Any]] = {400: {"description": "bad_request"}}
LONGEST_DAYS = 36_500


class Judgement(BaseModel):
    """What one side thinks of a call."""

    thumb: int | None
    note: str


class BothSides(BaseModel):
    """What the caller and the owner think of a call."""

    caller: Judgement
    owner: Judgement


class CallRecord(BaseModel):
    """One call. ``state`` is ``active`` or how it ended; times are ISO 8601."""

    session_id: str
    room_name: str
    persona: str
    state: str
    reason: str
    keep_transcript: bool
    created_at: str
    joined_at: str | None
    ended_at: str | None
    origin: str
    caller_name: str
    link_id: str | None
    text_only: bool
    feedback: BothSides


class FoundCall(CallRecord):
    """One call of a search."""

    link_name: str
    turns: int = Field(description="How many exchanges it had.")
    excerpt: str = Field(description="Words around the first place that was searched for.")


class FoundCalls(BaseModel):
    """Part of a search, newest first."""

    calls: list[FoundCall]
    next: str | None = Field(description="The cursor of the next part; null: this was the last.")


class TurnRecord(BaseModel):
    """One exchange; ``ms`` are its stage times after the caller's last voiced sample."""

    index: int
    user_text: str | None
    agent_text: str | None
    interrupted: bool
    ms: dict[str, int | None]
    started_at: str
    finished_at: str | None


class WholeCall(CallRecord):
    """One call with everything that was said."""

    turns: list[TurnRecord]


class DeletionRecord(BaseModel):
    """What was deleted."""

    calls: int
    turns: int
    scrubbed: bool = Field(
        description="Whether the words have left the database's files; if not, they do in seconds."
    )


def _found(found: Found) -> FoundCall:
    return FoundCall.model_validate(
        {
            **found.session.as_json(),
            "link_name": found.link_name,
            "turns": found.turns,
            "excerpt": found.excerpt,
        }
    )


def _record(session: Session) -> CallRecord:
    return CallRecord.model_validate(session.as_json())


def _whole(session: Session, turns: list[Turn]) -> WholeCall:
    return WholeCall.model_validate(transcripts.whole(session, turns))


def _deletion(deletion: Deletion) -> DeletionRecord:
    return DeletionRecord(calls=deletion.calls, turns=deletion.turns, scrubbed=deletion.scrubbed)


@router.get("/calls", responses=_BAD)
async def search_calls(request: Request, query: Annotated[CallQuery, Query()]) -> FoundCalls:
    """Find calls, newest first."""
    page = await records.find(request, query)
    return FoundCalls(calls=[_found(one) for one in page.calls], next=page.cursor)


@router.delete("/calls", responses=_BAD)
async def delete_calls(
    request: Request,
    older_than_days: Annotated[int | None, Query(ge=0, le=LONGEST_DAYS)] = None,
    everything: Annotated[bool, Query(alias="all", description="Every ended call.")] = False,
) -> DeletionRecord:
    """Delete ended calls with their words; one of the two has to be said."""
    if everything == (older_than_days is not None):
        raise BadInput(
            "bad_request", "It is not said which calls are to be deleted.",
            "Send either older_than_days or all=true.",
        )  # fmt: skip
    return _deletion(await records.delete_many(request, older_than_days))


@router.get("/calls/{session_id}", responses=_UNKNOWN)
async def get_call(request: Request, session_id: CallId) -> WholeCall:
    """One call with its turns."""
    return _whole(*await records.read(request, session_id))


@router.get("/calls/{session_id}/export", responses=_UNKNOWN, response_class=Response)
async def export_call(
    request: Request,
    session_id: CallId,
    form: Annotated[transcripts.Format, Query(alias="format")] = "json",
) -> Response:
    """One call as a file."""
    session, content = await records.take_away(request, session_id, form)
    name = transcripts.file_name(session, form)
    return Response(
        content,
        media_type=transcripts.MEDIA_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.delete("/calls/{session_id}", responses={**_UNKNOWN, 403: {"description": "call_open"}})
async def delete_call(request: Request, session_id: CallId) -> DeletionRecord:
    """Delete one ended call with its words."""
    return _deletion(await records.delete_one(request, session_id))


@router.post("/calls/{session_id}/end", responses=_UNKNOWN)
async def end_call(request: Request, session_id: CallId) -> CallRecord:
    """End a call as the owner; the caller is told so."""
    return _record(await records.end(request, session_id))


@router.put("/calls/{session_id}/feedback", responses=_UNKNOWN)
async def owner_feedback(request: Request, session_id: CallId, feedback: Feedback) -> CallRecord:
    """What the owner thinks of a call."""
    store = records.store_of(request)
    return _record(await records.judge(store, session_id, "owner", feedback))


@router.post("/sessions/{session_id}/feedback", responses=_THEIRS)
async def caller_feedback(request: Request, session_id: CallId, feedback: Feedback) -> Judgement:
    """What the caller thinks of their call."""
    store = records.store_of(request)
    await records.own_call(request, session_id)
    session = await records.judge(store, session_id, "caller", feedback)
    return Judgement(thumb=session.caller_thumb, note=session.caller_note)
