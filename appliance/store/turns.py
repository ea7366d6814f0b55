"""What was said: a call's turns, read and written."""

from __future__ import annotations

import builtins
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, CursorResult, RowMapping, func, insert, select, update

from appliance.errors import NotFound
from appliance.store.database import Database
from appliance.store.models import SessionRow, TurnRow
from appliance.store.vocabulary import Turn

_SESSIONS = SessionRow.__table__.c
_TURNS = TurnRow.__table__.c
# A call's last turn may be written after its end.
_LAST_WORDS = timedelta(minutes=1)


class Turns:
    """What was said."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, session_id: str, user_text: str | None) -> int:
        """Write the caller's side of a turn (None: the greeting) and return its index, from 0.

        Raises:
            NotFound: there is no such call.
        """
        with self._database.write() as connection:
            keep = _keeps_transcript(connection, session_id)
            last = connection.scalar(
                select(func.max(_TURNS.index)).where(_TURNS.session_id == session_id)
            )
            index = 0 if last is None else int(last) + 1
            connection.execute(
                insert(TurnRow).values(
                    session_id=session_id, index=index, user_text=user_text if keep else None,
                    interrupted=False, ms={}, started_at=datetime.now(UTC),
                )
            )  # fmt: skip
            return index

    def finish(
        self,
        session_id: str,
        index: int,
        agent_text: str | None,
        *,
        interrupted: bool,
        ms: dict[str, int | None],
    ) -> None:
        """Write the answer as far as it was heard; ``ms`` are the turn's stage times.

        Raises:
            NotFound: there is no such call or turn.
        """
        with self._database.write() as connection:
            keep = _keeps_transcript(connection, session_id)
            result: CursorResult[Any] = connection.execute(
                update(TurnRow)
                .where(_TURNS.session_id == session_id, _TURNS.index == index)
                .values(
                    agent_text=agent_text if keep else None, interrupted=interrupted, ms=ms,
                    finished_at=datetime.now(UTC),
                )
            )  # fmt: skip
            if result.rowcount != 1:
                raise NotFound("turn_unknown", f"The call {session_id!r} has no turn {index}.")

    def heard(self, session_id: str, index: int, at_ear_ms: int) -> bool:
        """Add when a caller's own ear heard the answer; False if there is no such finished turn."""
        which = (_TURNS.session_id == session_id) & (_TURNS.index == index)
        with self._database.write() as connection:
            query = select(_TURNS.ms).where(which, _TURNS.finished_at.is_not(None))
            ms = connection.scalar(query.with_for_update())
            if ms is None:
                return False
            connection.execute(update(TurnRow).where(which).values(ms={**ms, "at_ear": at_ear_ms}))
            return True

    def list(self, session_id: str) -> list[Turn]:
        """The turns of a call, in order; empty if there is no such call."""
        query = select(*_TURNS).where(_TURNS.session_id == session_id).order_by(_TURNS.index)
        with self._database.read() as connection:
            return [_turn(row) for row in connection.execute(query).mappings()]

    def latest(self, limit: int) -> builtins.list[tuple[str, Turn]]:
        """The turns begun last in all calls, each with its call's id, newest first."""
        order = (_TURNS.started_at.desc(), _TURNS.session_id, _TURNS.index.desc())
        query = select(*_TURNS).order_by(*order).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings()
            return [(row["session_id"], _turn(row)) for row in rows]

    def times(self, after: datetime, until: datetime) -> builtins.list[dict[str, int | None]]:
        """The stage times of the turns that were finished after one moment, until another.

        The calls are narrowed down first: they are indexed by their end, the turns are not.
        """
        recent = _SESSIONS.ended_at.is_(None) | (_SESSIONS.ended_at > after - _LAST_WORDS)
        query = (
            select(_TURNS.ms)
            .join_from(SessionRow, TurnRow, _SESSIONS.id == _TURNS.session_id)
            .where(recent, _TURNS.finished_at > after, _TURNS.finished_at <= until)
        )
        with self._database.read() as connection:
            return [dict(ms) for ms in connection.scalars(query)]


def _turn(row: RowMapping) -> Turn:
    return Turn(
        index=row["index"], user_text=row["user_text"], agent_text=row["agent_text"],
        interrupted=row["interrupted"], ms=dict(row["ms"]), started_at=row["started_at"],
        finished_at=row["finished_at"],
    )  # fmt: skip


def unknown_session(session_id: str) -> NotFound:
    """The error for an id that names no call."""
    return NotFound(
        "session_unknown", f"There is no call {session_id[:64]!r}.",
        "`scripts/appliance sessions list` shows the latest.",
    )  # fmt: skip


def _keeps_transcript(connection: Connection, session_id: str) -> bool:
    # Locked, so that two turns of one call cannot take the same index on a server.
    query = select(_SESSIONS.keep_transcript).where(_SESSIONS.id == session_id).with_for_update()
    keep = connection.scalar(query)
    if keep is None:
        raise unknown_session(session_id)
    return bool(keep)
