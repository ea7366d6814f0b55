"""Reading and writing calls. Synchronous: callers on an event loop use a thread."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, CursorResult, RowMapping, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from appliance import logs
from appliance.errors import NotReady
from appliance.settings import Settings
from appliance.store.access import Attempts, Owner, SignIns
from appliance.store.api_keys import ApiKeys
from appliance.store.audit import Audit
from appliance.store.calls import Calls
from appliance.store.engine import (
    SEATS_LOCK,
    explain,
    lock_for_transaction,
    make_engine,
    reading,
    scrub,
    sqlite_path,
)
from appliance.store.licences import Licences
from appliance.store.links import Links, give_use_back, use_link
from appliance.store.models import SessionRow
from appliance.store.reserve import Reserve
from appliance.store.turns import Turns, unknown_session
from appliance.store.upgrading import upgrade
from appliance.store.vocabulary import ACTIVE, PAGE_VISIT, EndState, Session, Visit

log = logs.get(__name__)
_LONGEST_REASON = 500
# Inside the class `list` is the method.
SessionList = list[Session]
_SESSIONS = SessionRow.__table__.c


def open_store(settings: Settings) -> Store:
    """The box's store, its tables brought up to date.

    Raises:
        ApplianceError: the database is damaged, unreachable or of a newer version.
    """
    upgrade(settings.store_url)
    return Store(settings.store_url)


class Store:
    """Sessions and turns. What a method has returned is on the disk. Safe between threads."""

    def __init__(self, url: str) -> None:
        self._engine = make_engine(url)
        self._reader = reading(self._engine)
        self.reserve = Reserve(sqlite_path(url))
        self.sessions = Sessions(self)
        self.turns = Turns(self)
        self.links = Links(self)
        self.licences = Licences(self)
        self.owner = Owner(self)
        self.sign_ins = SignIns(self)
        self.attempts = Attempts(self)
        self.api_keys = ApiKeys(self)
        self.audit = Audit(self)
        self.calls = Calls(self)

    @contextmanager
    def write(self, *, essential: bool = False) -> Iterator[Connection]:
        """One writing transaction, committed at the end.

        Args:
            essential: it must be possible on a full disk too: deleting, signing in.
        """
        if essential:
            self.reserve.make_room()
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise explain(error) from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One reading transaction."""
        try:
            with self._reader.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise explain(error) from error

    def scrub(self) -> bool:
        """Take deleted words out of the database's files; False: somebody reads, try again."""
        try:
            return scrub(self._engine)
        except (SQLAlchemyError, sqlite3.OperationalError) as error:
            log.warning("scrub_failed", error=type(error).__name__)
            return False

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


class Sessions:
    """The calls."""

    def __init__(self, store: Store) -> None:
        self._store = store

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
        values = {
            "id": name,
            "room_name": room_name or f"call-{name}",
            "persona": persona,
            "keep_transcript": keep_transcript,
            "state": ACTIVE,
            "reason": "",
            "created_at": _now(),
            **asdict(visit),
        }
        with self._store.write() as connection:
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
            connection.execute(insert(SessionRow).values(values))
        return Session(**values, joined_at=None, ended_at=None)

    def count_open(self) -> int:
        """How many calls have not ended."""
        with self._store.read() as connection:
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
        with self._store.read() as connection:
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
        with self._store.write() as connection:
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
            "ended_at": _now(),
        }
        with self._store.write() as connection:
            result: CursorResult[Any] = connection.execute(
                update(SessionRow)
                .where(_SESSIONS.id == session_id, _SESSIONS.state == ACTIVE)
                .values(values)
            )
            if result.rowcount == 1:
                give_use_back(connection, session_id)
            return result.rowcount == 1

    def _all(self, query: Any) -> SessionList:
        with self._store.read() as connection:
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
