"""Past calls: finding, judging and deleting them. Synchronous: an event loop uses a thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, CursorResult, and_, delete, func, select, update
from sqlalchemy.sql.elements import ColumnElement

from appliance.errors import BadInput, NotFound, Refused
from appliance.store.database import Database
from appliance.store.models import LinkRow, SessionRow, TurnRow
from appliance.store.searching import (
    Wanted,
    after,
    conditions,
    cursor_of,
    excerpt_of_notes,
    excerpts,
)
from appliance.store.vocabulary import ACTIVE, Session

Side = Literal["caller", "owner"]
LONGEST_NOTE = 2000
# A deletion in one piece would keep an agent's turn waiting.
_PIECE = 100
_SESSIONS = SessionRow.__table__.c
_TURNS = TurnRow.__table__.c
_LINKS = LinkRow.__table__.c


@dataclass(frozen=True)
class Found:
    """One call of a search."""

    session: Session
    link_name: str
    turns: int
    excerpt: str
    """Words around the first place that was searched for; "" if nothing was."""


@dataclass(frozen=True)
class Page:
    """Part of a search, newest first; ``cursor`` leads to the next part, None: there is none."""

    calls: Sequence[Found]
    cursor: str | None


@dataclass(frozen=True)
class Deleted:
    """What is gone."""

    calls: int
    turns: int


class Calls:
    """The calls as records."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def search(self, wanted: Wanted, *, limit: int = 50, cursor: str | None = None) -> Page:
        """One page of the calls that match.

        Raises:
            BadInput: the cursor is none of ours.
        """
        count = select(func.count()).where(_TURNS.session_id == _SESSIONS.id).scalar_subquery()
        name = select(_LINKS.name).where(_LINKS.id == _SESSIONS.link_id).scalar_subquery()
        query = select(
            *_SESSIONS, count.label("turn_count"), func.coalesce(name, "").label("link_name")
        ).where(*conditions(wanted))
        if cursor is not None:
            query = query.where(after(cursor))
        query = query.order_by(_SESSIONS.created_at.desc(), _SESSIONS.id).limit(limit + 1)
        with self._database.read() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
            more = len(rows) > limit
            rows = rows[:limit]
            cuts = excerpts(connection, [row["id"] for row in rows], wanted.text)
        found = []
        for row in rows:
            turns, link = row.pop("turn_count"), row.pop("link_name")
            session = Session(**row)
            excerpt = cuts.get(session.id) or excerpt_of_notes(session, wanted.text)
            found.append(Found(session, link, turns, excerpt))
        return Page(found, cursor_of(found[-1].session) if more else None)

    def personas(self) -> list[str]:
        """The personas that ever answered, for the filter."""
        with self._database.read() as connection:
            query = select(_SESSIONS.persona).distinct().order_by(_SESSIONS.persona)
            return list(connection.scalars(query))

    def link_name(self, session: Session) -> str:
        """The join link that the caller came by; "" if none, or it is gone."""
        if session.link_id is None:
            return ""
        with self._database.read() as connection:
            return connection.scalar(select(_LINKS.name).where(_LINKS.id == session.link_id)) or ""

    def ids(self) -> frozenset[str]:
        """Every call that is kept."""
        with self._database.read() as connection:
            return frozenset(connection.scalars(select(_SESSIONS.id)))

    def count_ended(self, before: datetime | None = None) -> int:
        """How many calls ``delete_ended`` would delete."""
        with self._database.read() as connection:
            query = select(func.count()).select_from(SessionRow).where(_ended(before))
            return int(connection.scalar(query) or 0)

    def delete(self, session_id: str) -> Deleted:
        """Delete one ended call with its words.

        Raises:
            NotFound: there is none of this id.
            Refused: it has not ended.
        """
        with self._database.write(essential=True) as connection:
            state = connection.scalar(
                select(_SESSIONS.state).where(_SESSIONS.id == session_id).with_for_update()
            )
            if state is None:
                raise _unknown(session_id)
            if state == ACTIVE:
                raise Refused(
                    "call_open", "This call has not ended.", "End it first, then delete it."
                )
            gone = _delete(connection, [session_id])
        self._database.scrub_owed()
        return gone

    def delete_ended(self, before: datetime | None = None) -> Deleted:
        """Delete ended calls with their words: those that ended before this moment, or all."""
        calls = turns = 0
        query = select(_SESSIONS.id).where(_ended(before)).order_by(_SESSIONS.id).limit(_PIECE)
        # Two who delete at once wait for each other, in the same order.
        query = query.with_for_update()
        while True:
            with self._database.write(essential=True) as connection:
                piece = list(connection.scalars(query))
                gone = _delete(connection, piece)
            self._database.scrub_owed()
            calls, turns = calls + gone.calls, turns + gone.turns
            if len(piece) < _PIECE:
                return Deleted(calls, turns)

    def judge(self, session_id: str, side: Side, *, thumb: int | None, note: str) -> None:
        """Write one side's feedback over what it said before.

        Args:
            session_id: the call.
            side: who judges.
            thumb: 1 up, -1 down, None neither.
            note: at most ``LONGEST_NOTE`` characters.

        Raises:
            NotFound: there is no such call.
            BadInput: the thumb or the note is none.
        """
        if thumb not in (None, 1, -1) or len(note) > LONGEST_NOTE or "\x00" in note:
            raise BadInput(
                "feedback_invalid", "This is no feedback.",
                f"A thumb is 1 or -1, a note has at most {LONGEST_NOTE} characters.",
            )  # fmt: skip
        values = {f"{side}_thumb": thumb, f"{side}_note": note}
        with self._database.write() as connection:
            result: CursorResult[Any] = connection.execute(
                update(SessionRow).where(_SESSIONS.id == session_id).values(values)
            )
            if result.rowcount != 1:
                raise _unknown(session_id)
        self._database.scrub_owed()


def _unknown(session_id: str) -> NotFound:
    return NotFound(
        "session_unknown", f"There is no call {session_id[:64]!r}.", "It may have been deleted."
    )


def _ended(before: datetime | None) -> ColumnElement[bool]:
    over = _SESSIONS.state != ACTIVE
    return over if before is None else and_(over, _SESSIONS.ended_at < before)


def _delete(connection: Connection, ids: Sequence[str]) -> Deleted:
    if not ids:
        return Deleted(0, 0)
    turns: CursorResult[Any] = connection.execute(delete(TurnRow).where(_TURNS.session_id.in_(ids)))
    calls: CursorResult[Any] = connection.execute(delete(SessionRow).where(_SESSIONS.id.in_(ids)))
    return Deleted(calls.rowcount, turns.rowcount)
