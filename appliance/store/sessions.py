"""Calls: begun, looked up, ended."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, CursorResult, RowMapping, func, insert, select, update

from appliance.errors import NotReady
from appliance.store.database import Database
from appliance.store.engine import SEATS_LOCK, lock_for_transaction
from appliance.store.links import give_use_back, use_link
from appliance.store.models import SessionRow
from appliance.store.turns import unknown_session
from appliance.store.vocabulary import ACTIVE, PAGE_VISIT, EndState, Session, Visit

_LONGEST_REASON = 500
# Inside the class `list` is the method.
SessionList = list[Session]
_SESSIONS = SessionRow.__table__.c


class Sessions:
    """The calls."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        *,
        persona: str,
        keep_transcript: bool,
        seats: int | None = None,
        visit: Visit = PAGE_VISIT,
        room_name: str = "",
    ) -> Session:
        """Begin a call; with ``seats``, only if fewer calls are open, counted atomically.

        The use of the visit's link is counted in the same transaction. Without ``room_name`` the
        room is named after the call; a name that an ended call had is taken from it.

        Raises:
            NotReady: every seat is taken (``box_full``).
            LinkOver: the visit's link opens no more calls.
            NotFound: there is no such link.
        """
        name = secrets.token_hex(8)
        values: dict[str, Any] = {
            "id": name,
            "room_name": room_name or f"call-{name}",
            "persona": persona,
            "keep_transcript": keep_transcript,
            "state": ACTIVE,
            "reason": "",
            **asdict(visit),
        }
        with self._database.write() as connection:
            if seats is not None:
                lock_for_transaction(connection, SEATS_LOCK)
                if _count(connection) >= seats:
                    raise NotReady(
                        "box_full", "All lines are busy.", "Try again when a call has ended.",
                        can_retry=True,
                    )  # fmt: skip
            if visit.link_id is not None:
                use_link(connection, visit.link_id)
            if room_name:
                _free_room_name(connection, room_name)
            # Not before: who waits for the database while a seat becomes free has no call yet.
            values["created_at"] = _now()
            connection.execute(insert(SessionRow).values(values))
        return Session(**values, joined_at=None, ended_at=None)

    def count_open(self) -> int:
        """How many calls have not ended."""
        with self._database.read() as connection:
            return _count(connection)

    def in_room(self, room_name: str) -> Session | None:
        """The latest call of this room, whether it has ended or not."""
        found = self._all(select(*_SESSIONS).where(_SESSIONS.room_name == room_name))
        return found[0] if found else None

    def of_link(self, link_id: str) -> SessionList:
        """The open calls of a join link."""
        return self._all(
            select(*_SESSIONS).where(_SESSIONS.link_id == link_id, _SESSIONS.state == ACTIVE)
        )

    def get(self, session_id: str) -> Session:
        """The call of this id.

        Raises:
            NotFound: there is none of this id.
        """
        with self._database.read() as connection:
            row = (
                connection.execute(select(*_SESSIONS).where(_SESSIONS.id == session_id))
                .mappings()
                .one_or_none()
            )
        if row is None:
            raise unknown_session(session_id)
        return _session(row)

    def list(self, limit: int = 50) -> SessionList:
        """The latest calls, newest first."""
        query = select(*_SESSIONS).order_by(_SESSIONS.created_at.desc(), _SESSIONS.id).limit(limit)
        return self._all(query)

    def open(self) -> SessionList:
        """Calls that have not ended, oldest first."""
        query = select(*_SESSIONS).where(_SESSIONS.state == ACTIVE)
        return self._all(query.order_by(_SESSIONS.created_at, _SESSIONS.id))

    def mark_joined(self, session_id: str) -> None:
        """Note that the caller was there; the first time counts."""
        with self._database.write() as connection:
            connection.execute(
                update(SessionRow)
                .where(_SESSIONS.id == session_id, _SESSIONS.joined_at.is_(None))
                .values(joined_at=_now())
            )

    def end(self, session_id: str, state: EndState | str, reason: str = "") -> bool:
        """End a call; the first end wins.

        Returns:
            Whether this was the end. False: it had ended before, or there is no such call.
        """
        values = {
            "state": EndState(state).value,
            "reason": reason[:_LONGEST_REASON],
        }
        with self._database.write() as connection:
            result: CursorResult[Any] = connection.execute(
                update(SessionRow)
                .where(_SESSIONS.id == session_id, _SESSIONS.state == ACTIVE)
                .values(values | {"ended_at": _now()})
            )
            if result.rowcount == 1:
                give_use_back(connection, session_id)
            return result.rowcount == 1

    def _all(self, query: Any) -> SessionList:
        with self._database.read() as connection:
            return [_session(row) for row in connection.execute(query).mappings()]


def _now() -> datetime:
    return datetime.now(UTC)


def _free_room_name(connection: Connection, room_name: str) -> None:
    """Rooms chosen by a caller are used again; the ended call keeps its own id instead."""
    connection.execute(
        update(SessionRow)
        .where(_SESSIONS.room_name == room_name, _SESSIONS.state != ACTIVE)
        .values(room_name="ended-" + _SESSIONS.id)
    )


def _count(connection: Connection) -> int:
    query = select(func.count()).select_from(SessionRow).where(_SESSIONS.state == ACTIVE)
    return int(connection.scalar(query) or 0)


def _session(row: RowMapping) -> Session:
    return Session(**row)
